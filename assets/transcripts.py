"""Transcripts: the product of the stage `transcribe`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES
from ops.transcribe import transcribe_batch

transcripts = batch_product(
    STAGES["transcribe"],
    transcribe_batch,
    description="Text with word times of each recording of a batch; files and receipts are in the object store.",
    code_version="1",
    kinds={"audio", "json"},
)
