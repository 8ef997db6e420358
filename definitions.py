"""Assembly only: `build_defs(overrides)` puts assets, jobs, sensors and resources together for Dagster."""

from dagster import Definitions

defs = Definitions()
