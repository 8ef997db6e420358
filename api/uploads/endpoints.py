"""POST /v1/uploads. The bytes themselves go straight to the store."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from api.answers import keyed_with_body
from api.dependencies import PrincipalDep, ServicesDep, SessionDep
from api.routes import BriefKeyedRoute
from api.uploads.schemas import NewUpload, Upload
from audiomill.jobs.inputs import create_upload

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], route_class=BriefKeyedRoute)


@router.post("", status_code=201, responses=keyed_with_body(403, 429))
def announce_an_upload(new: NewUpload, principal: PrincipalDep, session: SessionDep, services: ServicesDep) -> Upload:
    """Announce a recording and get a signed URL to send its bytes to, by PUT. Then order jobs with its id."""
    ticket = create_upload(
        session,
        services.store,
        workspace_id=principal.workspace_id,
        filename=new.filename,
        content_type=new.content_type,
        size_bytes=new.size_bytes,
        settings=services.settings,
    )
    return Upload(
        id=ticket.id,
        method="PUT",
        url=ticket.signed.url,
        headers=dict(ticket.signed.headers),
        expires_at=datetime.now(UTC) + timedelta(seconds=ticket.signed.expires_seconds),
    )
