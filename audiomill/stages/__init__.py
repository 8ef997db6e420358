"""The stages: a folder per kind of work. Each knows its own part only; what a run does around it is audiomill/milling.

What a stage is to orders and to Dagster (its task, its product) is data: audiomill/catalogue/stages.py.
"""

from collections.abc import Callable

from audiomill.milling.bench import Bench
from audiomill.milling.stage import AnyStage
from audiomill.stages.synthesize.work import Synthesizing
from audiomill.stages.transcribe.work import Transcribing

STAGE_WORK: dict[str, Callable[[Bench], AnyStage]] = {
    "transcribe": Transcribing,
    "synthesize": Synthesizing,
}
