"""Speech: the product of the stage `synthesize`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES
from ops.synthesize import synthesize_batch

speech = batch_product(
    STAGES["synthesize"],
    synthesize_batch,
    description="Each text of a batch, spoken; files and receipts are in the object store.",
    code_version="1",
    kinds={"audio"},
)
