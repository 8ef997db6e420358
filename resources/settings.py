"""The settings as a resource. Their meaning is in audiomill.settings."""

import json
from functools import lru_cache
from typing import Any

from dagster import ConfigurableResource
from pydantic import Field

from audiomill.settings import Settings, get_settings


class SettingsResource(ConfigurableResource[Settings]):
    """audiomill's settings: the environment's, with `values` over them (tests; Dagster shows them, so no secrets)."""

    values: dict[str, Any] = Field(default_factory=dict, description="settings by section, over the environment's")

    def get(self) -> Settings:
        """The settings. Raises pydantic.ValidationError when they cannot be."""
        return _with_values(json.dumps(self.values, sort_keys=True)) if self.values else get_settings()


@lru_cache(maxsize=16)
def _with_values(values_json: str) -> Settings:
    return Settings(**json.loads(values_json))
