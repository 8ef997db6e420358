"""Stems: the product of the stage `separate`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

stems = batch_product(
    STAGES["separate"],
    description="The voice of each recording of a batch, and what lies behind it.",
    code_version="1",
    kinds={"audio"},
)
