"""The capability `synthesize`: text to speech."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from audiomill.catalogue.capability import TEXT, Capability, Recipe
from audiomill.catalogue.parameters import EachOnce, LanguageTag, Parameters
from audiomill.catalogue.speaking import REFERENCE_RATE_WPM

SpeechFormat = Literal["wav", "flac", "mp3"]


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

    def wanted_language(self) -> str | None:
        """The one that is to be spoken."""
        return self.language.lower().replace("_", "-")

    def least_sound_seconds(self, spoken_seconds: float) -> float:
        """At the speed that is ordered."""
        return spoken_seconds * REFERENCE_RATE_WPM / self.rate_wpm


SYNTHESIZE = Capability(
    "synthesize",
    "Text to speech",
    SynthesizeParameters,
    TEXT,
    ("synthesize",),
    (
        Recipe("synthesize", "synthesize", "A text spoken, as wav", {"formats": ["wav"]}),
        Recipe("voiceover", "synthesize", "A text spoken, as wav, flac and mp3", {"formats": ["wav", "flac", "mp3"]}),
    ),
)
