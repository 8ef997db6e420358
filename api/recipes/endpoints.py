"""GET /v1/recipes."""

from functools import cache
from typing import Any

from fastapi import APIRouter

from api.answers import keyed
from api.dependencies import PrincipalDep
from api.recipes.schemas import Recipe, Recipes
from api.routes import KeyedRoute
from audiomill.catalogue.capabilities import CAPABILITIES
from audiomill.catalogue.recipes import RECIPES

router = APIRouter(prefix="/v1/recipes", tags=["catalogue"], route_class=KeyedRoute)


@cache
def _schema(capability: str) -> dict[str, Any]:
    return CAPABILITIES[capability].parameters.model_json_schema()


@router.get("", responses=keyed())
def list_recipes(_: PrincipalDep) -> Recipes:
    """What can be ordered, with the JSON Schema of each recipe's parameters."""
    return Recipes(
        recipes=[
            Recipe(
                name=recipe.name,
                capability=recipe.capability,
                summary=recipe.summary,
                input=CAPABILITIES[recipe.capability].input_kind,
                parameters=recipe.parameters,
                parameters_schema=_schema(recipe.capability),
            )
            for recipe in RECIPES.values()
        ]
    )
