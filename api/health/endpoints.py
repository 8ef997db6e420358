"""GET /healthz, for "restart me?", and GET /readyz, for "send me requests?". Both without a key."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.answers import problems
from api.dependencies import ServicesDep
from api.health.schemas import Health
from api.problems import RETRY_AFTER_SECONDS, problem
from audiomill.errors import OperatorError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def is_alive() -> Health:
    """The process answers. Asks neither database nor store: restarting would mend neither."""
    return Health()


@router.get("/readyz", response_model=Health, responses=problems())
def is_ready(request: Request, services: ServicesDep) -> Health | JSONResponse:
    """Database and store can be used; else 503 that names what cannot."""
    failed: list[str] = []
    for name, ready in (("database", services.database.ready), ("store", services.store.ready)):
        try:
            ready()
        except OperatorError:
            failed.append(name)
    if not failed:
        return Health()
    return problem(
        request.scope,
        status=503,
        code="not_ready",
        detail=f"Not ready: {' and '.join(failed)} cannot be used.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
