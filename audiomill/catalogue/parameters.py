"""What the parameters of all capabilities have in common. Each capability's own are in its file."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
