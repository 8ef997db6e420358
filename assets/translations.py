"""Translations: the product of the stage `translate`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

translations = batch_product(
    STAGES["translate"],
    description="The lines of each dub of a batch in its language.",
    code_version="1",
    kinds={"json"},
    made_from=("scripts",),
)
