"""What the parameters of all capabilities have in common. Each capability's own are in its file."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Listed = TypeVar("Listed")
Feature = Literal["translation", "glossary"]
"""What only some engines of a task can do and an order may ask for. translation: English text from any language.
glossary: a translation that keeps to given terms."""


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

    def wanted_language(self) -> str | None:
        """The language that an engine must know (BCP 47, lower case, hyphens); None: any engine will do."""
        return None

    def wanted_features(self) -> frozenset[Feature]:
        """What only some engines of the task can do, and this order asks for."""
        return frozenset()

    def least_sound_seconds(self, spoken_seconds: float) -> float:  # noqa: ARG002 - where no text is spoken
        """Seconds of sound that a text comes to at least which lasts `spoken_seconds` at the reference rate."""
        return 0.0
