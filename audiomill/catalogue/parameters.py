"""The typed parameters of each capability, with limits and defaults. What a job freezes is one of these as JSON."""

from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

TranscriptFormat = Literal["txt", "srt", "vtt", "tsv", "json"]
SpeechFormat = Literal["wav", "flac", "mp3"]
Listed = TypeVar("Listed")


def _each_once(values: tuple[Listed, ...]) -> tuple[Listed, ...]:
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands in it twice")
    return values


EachOnce = (AfterValidator(_each_once), Field(json_schema_extra={"uniqueItems": True}))
"""Of a list whose order counts and in which nothing stands twice."""

LanguageTag = Annotated[str, Field(pattern=r"^[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8})*$", max_length=35)]


class Parameters(BaseModel):
    """Base of all parameters: unknown fields are refused, values are frozen with the job."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: str = Field(
        "auto", max_length=64, description="`auto`: the best engine that can run here; or an engine's name"
    )
    model: str | None = Field(
        None,
        max_length=128,
        description="a model of the engine, when it has several: `small`, `large-v3-turbo`",
    )


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
        description="sampling temperatures, tried in order while the result looks wrong",
    )
    word_timestamps: bool = Field(True, description="times and confidence of each word")
    vad: bool = Field(True, description="leave out what is not speech before decoding (voice activity detection)")
    initial_prompt: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="text in the style and with the terms expected"
    )
    hotwords: tuple[Annotated[str, Field(max_length=100)], ...] = Field(
        (), max_length=100, description="names and terms to prefer"
    )


class SynthesizeParameters(Parameters):
    """Text to speech."""

    language: LanguageTag = Field("en-us", description="language and accent (BCP 47: `en-gb`, `es-419`)")
    voice: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="a voice of the engine; default: the engine's voice for the language"
    )
    rate_wpm: Annotated[int, Field(ge=80, le=450)] = Field(175, description="words per minute")
    pitch: Annotated[int, Field(ge=0, le=99)] = Field(50, description="0 low, 50 as the voice is, 99 high")
    formats: Annotated[tuple[SpeechFormat, ...], *EachOnce] = Field(
        ("wav",), min_length=1, max_length=len(get_args(SpeechFormat)), description="files to deliver"
    )
