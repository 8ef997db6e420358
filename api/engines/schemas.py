"""Bodies of the engine endpoint."""

from pydantic import BaseModel, ConfigDict, Field


class Engine(BaseModel):
    """An engine, or one model of it, on one kind of machine."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "engine": "faster-whisper",
                    "model": "small",
                    "resource_class": "cpu",
                    "task": "speech_to_text",
                    "preference": 0,
                    "available": False,
                    "lacks": "the weights of 'small'; fetch them with `audiomill models pull`",
                    "languages": None,
                    "workers": 0,
                    "licence": "MIT",
                    "features": ["translation"],
                }
            ]
        },
    )

    engine: str
    model: str | None = None
    resource_class: str = Field(description="`cpu`, `gpu` or `remote`")
    task: str
    preference: int = Field(description="0 is the best of its task: the order in which `auto` chooses")
    available: bool
    lacks: str | None = Field(None, description="what is missing where it is not available")
    languages: tuple[str, ...] | None = Field(
        None, description="BCP 47 tags; pairs of a translator that has pairs (`en>es`); null: any"
    )
    workers: int = Field(description="workers that can run it")
    licence: str = Field(description="of the engine, or of its weights where theirs is the stricter one")
    features: tuple[str, ...] = Field(description="what not every engine of the task can do, such as `translation`")


class Engines(BaseModel):
    """All engines that a worker has spoken of, best first within a task."""

    engines: list[Engine]
