"""How a state machine that drives a database is run: as many examples as its test says, found as the profile says."""

from hypothesis import HealthCheck, Phase, settings


def examples(count: int, *, steps: int) -> settings:
    """So many examples of so many steps. Which these are is the profile's: the same each time, or new ones."""
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        # Shrinking re-runs against a database and takes minutes; the first failure reads well enough.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
