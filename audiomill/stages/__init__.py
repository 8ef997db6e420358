"""The stages: a folder per kind of work. Each knows its own part only; what a run does around it is audiomill/milling.

What a stage is to orders and to Dagster (its task, its product) is data: audiomill/catalogue/stages.py.
"""

from collections.abc import Callable

from audiomill.milling.bench import Bench
from audiomill.milling.stage import AnyStage
from audiomill.stages.cast.work import Casting
from audiomill.stages.mix.work import Mixing
from audiomill.stages.mux.work import Muxing
from audiomill.stages.separate.work import Separating
from audiomill.stages.speak.work import Speaking
from audiomill.stages.synthesize.work import Synthesizing
from audiomill.stages.transcribe.work import Transcribing
from audiomill.stages.translate.work import Translating

STAGE_WORK: dict[str, Callable[[Bench], AnyStage]] = {
    "transcribe": Transcribing,
    "synthesize": Synthesizing,
    "separate": Separating,
    "cast": Casting,
    "translate": Translating,
    "speak": Speaking,
    "mix": Mixing,
    "mux": Muxing,
}
