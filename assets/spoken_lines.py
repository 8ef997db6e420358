"""Spoken lines: the product of the stage `speak`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

spoken_lines = batch_product(
    STAGES["speak"],
    description="The lines of each dub of a batch, each spoken by the voice of its speaker.",
    code_version="1",
    kinds={"audio"},
    made_from=("scripts", "translations"),
)
