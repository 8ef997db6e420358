"""What travels between the ops of a run: the batch id, which is the run's partition key. Nothing is stored."""

from typing import Any

from dagster import ConfigurableIOManager, InputContext, OutputContext


class PartitionKeyIOManager(ConfigurableIOManager):
    """Hands every op the partition key of its run.

    Dagster's default pickles what an op returns and never removes it. And because nothing is read back, an op can
    follow one that was skipped: a run that is re-executed from failure.
    """

    def handle_output(self, context: OutputContext, obj: Any) -> None:  # noqa: ANN401 - Dagster's signature
        """Keep nothing. Raises ValueError when an op returned something else than its batch id."""
        if obj is not None and obj != _partition_key(context):
            raise ValueError(f"{context.step_key} returned something else than its batch id: data lives in the store.")

    def load_input(self, context: InputContext) -> str:
        """The batch id."""
        return _partition_key(context)


def _partition_key(context: InputContext | OutputContext) -> str:
    # Not `context.partition_key`: that one is refused for inputs of ops inside a graph asset.
    return context.step_context.partition_key
