"""Bodies of the recipe endpoint."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """Something that can be ordered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "subtitles",
                    "capability": "transcribe",
                    "summary": "Subtitle files of a recording",
                    "input": "audio",
                    "parameters": {"formats": ["srt", "vtt"]},
                    "parameters_schema": {"type": "object", "properties": {"language": {"type": "string"}}},
                }
            ]
        }
    )

    name: str
    capability: str
    summary: str
    input: Literal["audio", "text"] = Field(description="`audio`: an upload; `text`: a text, inline or uploaded")
    parameters: dict[str, Any] = Field(description="what the recipe sets; an order may set others or change these")
    parameters_schema: dict[str, Any] = Field(description="JSON Schema of all parameters with their defaults")


class Recipes(BaseModel):
    """All recipes of the workspace."""

    recipes: list[Recipe]
