"""System recipes: a capability with parameters under a name. A workspace's own come with the front."""

from dataclasses import dataclass, field
from typing import Any

from audiomill.errors import BadRequest


@dataclass(frozen=True)
class Recipe:
    """A named order: capability and the parameters that differ from its defaults."""

    name: str
    capability: str
    summary: str
    parameters: dict[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("transcribe", "transcribe", "Text, subtitles and word times of a recording"),
        Recipe("subtitles", "transcribe", "Subtitle files of a recording", {"formats": ["srt", "vtt"]}),
        Recipe("synthesize", "synthesize", "A text spoken, as wav", {"formats": ["wav"]}),
        Recipe(
            "voiceover",
            "synthesize",
            "A text spoken, as wav, flac and mp3",
            {"formats": ["wav", "flac", "mp3"]},
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises BadRequest."""
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        raise BadRequest(f"There is no recipe {name!r}. There are: {known}.", code="unknown_recipe") from None
