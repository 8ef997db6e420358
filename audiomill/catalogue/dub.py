"""The capability `dub`: a film or recording in another language, back in the film."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audiomill.catalogue.capability import Capability, Recipe
from audiomill.catalogue.parameters import EachOnce, LanguageTag, Parameters
from audiomill.catalogue.plan import EditedLines, Plan, Role, Step
from audiomill.catalogue.synthesize import SpeechFormat
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.errors import BadRequest
from audiomill.lines.languages import base_of, same

SOURCE, TARGET_SUBTITLES, SOURCE_SUBTITLES = "source", "subtitles", "source_subtitles"

EngineName = Annotated[str, Field(max_length=64)]
ModelName = Annotated[str, Field(max_length=128)]
Term = Annotated[str, Field(min_length=1, max_length=200)]

_HEARD_EVERYWHERE = "en"
"""The language that the embedded recogniser knows: a dub in it is listened back to wherever it is made."""


class _Choices(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StepEngines(_Choices):
    """`auto`, or an engine's name, for each kind of work."""

    separate: EngineName = "auto"
    transcribe: EngineName = "auto"
    translate: EngineName = "auto"
    speak: EngineName = "auto"


class StepModels(_Choices):
    """A model of the engine that is named for it."""

    separate: ModelName | None = None
    transcribe: ModelName | None = None
    translate: ModelName | None = None
    speak: ModelName | None = None


class DubParameters(Parameters):
    """A film or recording dubbed."""

    target_language: LanguageTag = Field(description="language of the dub (BCP 47: `es`, `pt-br`)")
    source_language: LanguageTag | Literal["auto"] = Field(
        "auto", description="language spoken in the source; needed where its subtitles are to be translated"
    )
    engines: StepEngines = Field(StepEngines(), description="an engine for each kind of work")
    models: StepModels = Field(StepModels(), description="a model for each kind of work")
    track: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="which sound track, 1 is the first; default: the one that players play"
    )
    transcript: bool = Field(
        True, description="with subtitles in the target language only: write down what is said in the source, too"
    )
    glossary: dict[Term, Term] = Field(
        {}, max_length=1000, description="terms and what they must be in the translation, where the engine can"
    )
    voices: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=100)]] = Field(
        {}, max_length=100, description="a voice by speaker (`S1`, `S2`, names of subtitles); `*`: of all others"
    )
    rate_wpm: Annotated[int, Field(ge=80, le=450)] = Field(175, description="words per minute, before lines are fitted")
    formats: Annotated[tuple[SpeechFormat, ...], *EachOnce] = Field(
        ("flac",),
        min_length=1,
        max_length=len(get_args(SpeechFormat)),
        description="files of the dub where the source has no picture; a film comes back as it came",
    )

    @model_validator(mode="after")
    def _two_languages(self) -> Self:
        if self.source_language != "auto" and same(self.source_language, self.target_language):
            raise ValueError("the source and the dub are in the same language; order another target_language")
        if self.engine != "auto" or self.model is not None:
            raise ValueError("a dub takes several engines; name them in `engines` and `models`")
        return self

    def spoken_language(self) -> str | None:
        """That of the source, where it is said."""
        return None if self.source_language == "auto" else _tag(self.source_language)


def _tag(language: str) -> str:
    return language.lower().replace("_", "-")


def plan(parameters: DubParameters, roles: Mapping[str, int]) -> Plan:
    """separate, transcribe, cast, translate, speak, mix, mux; subtitles stand in for transcribing and translating.

    Raises BadRequest (`source_language_needed`).
    """
    spoken, target = parameters.spoken_language(), _tag(parameters.target_language)
    given_target, given_source = bool(roles.get(TARGET_SUBTITLES)), bool(roles.get(SOURCE_SUBTITLES))
    if given_source and not given_target and spoken is None:
        raise BadRequest(
            "The subtitles of the source are to be translated, and nobody said from which language: name it "
            "(source_language).",
            code="source_language_needed",
        )
    steps = [_separate(parameters)]
    heard = not given_source and (parameters.transcript or not given_target)
    if heard:
        steps.append(_transcribe(parameters, optional=given_target))
    steps.append(
        Step(
            "cast", "cast", {"source_language": spoken, "target_language": target},
            (
                "separate/voice",
                *(["transcribe/result"] if heard else []),
                *(f"input:{role}" for role in (SOURCE_SUBTITLES, TARGET_SUBTITLES) if roles.get(role)),
            ),
        )
    )  # fmt: skip
    if not given_target:
        steps.append(_translate(parameters, spoken, target))
    lines = f"{steps[-1].name}/lines"
    steps += [
        Step(
            "speak", "speak", {"voices": dict(parameters.voices), "rate_wpm": parameters.rate_wpm}, (lines,),
            engine=parameters.engines.speak, model=parameters.models.speak, language=target,
        ),
        Step("mix", "mix", {}, ("separate/voice", "separate/background", "speak/speech", "speak/lines"), weight=2),
    ]  # fmt: skip
    listened = base_of(target) == _HEARD_EVERYWHERE
    if listened:
        steps.append(Step("listen", "transcribe", _heard(target), ("mix/dub",), optional=True, language=target))
    steps.append(
        Step(
            "mux", "mux", {"track": parameters.track, "formats": list(parameters.formats)},
            (
                f"input:{SOURCE}", "mix/dub", "mix/lines",
                *(f"{step.name}/checks" for step in steps if step.stage in {"cast", "translate", "speak", "mix"}),
                *(["listen/result"] if listened else []),
            ),
            delivers=True,
        )
    )  # fmt: skip
    translated = None if given_target else "cast/lines"
    by_line = ("speak",) if given_target else ("translate", "speak")
    return Plan(tuple(steps), EditedLines("mix/lines", lines, translated, by_line))


def _separate(parameters: DubParameters) -> Step:
    return Step(
        "separate", "separate", {"track": parameters.track, "written_again": True}, (f"input:{SOURCE}",), weight=3,
        engine=parameters.engines.separate, model=parameters.models.separate, delivers=True,
    )  # fmt: skip


def _transcribe(parameters: DubParameters, *, optional: bool) -> Step:
    spoken = parameters.spoken_language()
    return Step(
        "transcribe", "transcribe", _heard(spoken), ("separate/voice",), optional=optional, weight=3,
        engine=parameters.engines.transcribe, model=parameters.models.transcribe, language=spoken,
    )  # fmt: skip


def _heard(language: str | None) -> dict[str, Any]:
    return TranscribeParameters(language=language or "auto", formats=("json",)).model_dump(mode="json")


def _translate(parameters: DubParameters, spoken: str | None, target: str) -> Step:
    return Step(
        "translate", "translate", {"glossary": dict(parameters.glossary)}, ("cast/lines",),
        engine=parameters.engines.translate, model=parameters.models.translate,
        language=f"{base_of(spoken) if spoken else ''}>{base_of(target)}",
        features=frozenset({"glossary"} if parameters.glossary else ()),
    )  # fmt: skip


DUB = Capability(
    "dub",
    "A film or recording in another language: voices, subtitles, and the picture as it was",
    DubParameters,
    (
        Role(SOURCE, "audio"),
        Role(TARGET_SUBTITLES, "text", required=False),
        Role(SOURCE_SUBTITLES, "text", required=False),
    ),
    ("separate", "transcribe", "cast", "translate", "speak", "mix", "mux"),
    (Recipe("dub", "dub", "A film with another language's voices and subtitles; `target_language` says which"),),
    plan,
)
