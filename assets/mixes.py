"""Mixes: the product of the stage `mix`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

mixes = batch_product(
    STAGES["mix"],
    description="The sound of each dub of a batch: lines at their times over the background, as loud as the original.",
    code_version="1",
    kinds={"audio"},
    made_from=("stems", "spoken_lines"),
)
