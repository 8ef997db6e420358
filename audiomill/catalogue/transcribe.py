"""The capability `transcribe`: speech to text with word times."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from audiomill.catalogue.capability import RECORDING, Capability, Recipe
from audiomill.catalogue.parameters import EachOnce, Feature, LanguageTag, Parameters

TranscriptFormat = Literal["txt", "srt", "vtt", "tsv", "json"]


class TranscribeParameters(Parameters):
    """Speech to text."""

    language: LanguageTag | Literal["auto"] = Field(
        "auto",
        description="language spoken (BCP 47: `en`, `de`), or `auto` to detect it where the engine can; "
        "where it knows one only, what it hardly understood is refused",
    )
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="`translate` gives English text for any language, where the engine can"
    )
    formats: Annotated[tuple[TranscriptFormat, ...], *EachOnce] = Field(
        ("txt", "srt", "vtt", "tsv", "json"),
        min_length=1,
        max_length=len(get_args(TranscriptFormat)),
        description="files to deliver",
    )
    beam_size: Annotated[int, Field(ge=1, le=20)] = Field(5, description="hypotheses kept while decoding")
    temperatures: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        min_length=1,
        max_length=10,
        description="sampling temperatures, tried in order while the result looks wrong; with `sequential` only",
    )
    sequential: bool = Field(
        False,
        description="decode a recording from its beginning to its end, each half minute after the text before it and, "
        "where it looks wrong, again at the next temperature; slower, and by faster-whisper only: the utterances of "
        "many recordings share a call otherwise, and are decoded once",
    )
    word_timestamps: bool = Field(True, description="times and confidence of each word")
    vad: bool = Field(True, description="leave out what is not speech before decoding (voice activity detection)")
    initial_prompt: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="text in the style and with the terms expected"
    )
    hotwords: tuple[Annotated[str, Field(max_length=100)], ...] = Field(
        (), max_length=100, description="names and terms to prefer"
    )

    def wanted_language(self) -> str | None:
        """The one that is spoken, where it is said."""
        return None if self.language == "auto" else self.language.lower().replace("_", "-")

    def wanted_features(self) -> frozenset[Feature]:
        """Translation, where the text is to be English."""
        return frozenset({"translation"} if self.task == "translate" else ())


TRANSCRIBE = Capability(
    "transcribe",
    "Speech to text with word times",
    TranscribeParameters,
    RECORDING,
    ("transcribe",),
    (
        Recipe("transcribe", "transcribe", "Text, subtitles and word times of a recording"),
        Recipe("subtitles", "transcribe", "Subtitle files of a recording", {"formats": ["srt", "vtt"]}),
    ),
)
