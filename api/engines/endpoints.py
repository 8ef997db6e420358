"""GET /v1/engines."""

from fastapi import APIRouter

from api.answers import keyed
from api.dependencies import PrincipalDep, SessionDep
from api.engines.schemas import Engine, Engines
from api.routes import KeyedRoute
from audiomill.jobs.availability import table

router = APIRouter(prefix="/v1/engines", tags=["catalogue"], route_class=KeyedRoute)


@router.get("", responses=keyed())
def list_engines(_: PrincipalDep, session: SessionDep) -> Engines:
    """What can run at the moment, as the workers say, and what each of the others lacks."""
    return Engines(engines=[Engine.model_validate(view) for view in table(session)])
