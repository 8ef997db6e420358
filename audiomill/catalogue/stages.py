"""The stages: kinds of work. Each has a folder (audiomill/stages/<stage>) and one asset (assets/<product>.py)."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["speech_to_text", "text_to_speech", "separation", "translation"]
ResourceClass = Literal["cpu", "gpu", "remote"]

BUILT_IN = "audiomill"
"""What stands for an engine where a stage needs none."""


@dataclass(frozen=True)
class Stage:
    """One kind of work. `product` is the Dagster asset that a batch of it materialises.

    task: what its engine must be able to do; None: it needs none (mixing, fitting) and is done by audiomill itself.
    """

    name: str
    task: Task | None
    product: str


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("transcribe", "speech_to_text", "transcripts"),
        Stage("synthesize", "text_to_speech", "speech"),
        Stage("separate", "separation", "stems"),
        Stage("cast", None, "scripts"),
        Stage("translate", "translation", "translations"),
        Stage("speak", "text_to_speech", "spoken_lines"),
        Stage("mix", None, "mixes"),
        Stage("mux", None, "dubs"),
    )
}
