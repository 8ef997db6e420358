"""The system's recipes by name. Each is said with its capability; a workspace's own come with the front."""

from audiomill.catalogue.capabilities import CAPABILITIES
from audiomill.catalogue.capability import Recipe
from audiomill.errors import BadRequest

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for capability in CAPABILITIES.values() for recipe in capability.recipes
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises BadRequest."""
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        raise BadRequest(f"There is no recipe {name!r}. There are: {known}.", code="unknown_recipe") from None
