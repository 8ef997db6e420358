"""Transcripts: the product of the stage `transcribe`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

transcripts = batch_product(
    STAGES["transcribe"],
    description="Text with word times of each recording of a batch; files and receipts are in the object store.",
    code_version="1",
    kinds={"audio", "json"},
    made_from=("recordings", "stems"),
)
