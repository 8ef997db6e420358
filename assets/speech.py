"""Speech: the product of the stage `synthesize`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

speech = batch_product(
    STAGES["synthesize"],
    description="Each text of a batch, spoken; files and receipts are in the object store.",
    code_version="1",
    kinds={"audio"},
)
