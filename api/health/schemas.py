"""Bodies of the health endpoints."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Health(BaseModel):
    """All is well. Anything else is a problem."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"] = "ok"
