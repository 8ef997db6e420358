"""Dubs: the product of the stage `mux`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

dubs = batch_product(
    STAGES["mux"],
    description="Films and recordings in another language; files and receipts are in the object store.",
    code_version="1",
    kinds={"video"},
    made_from=("recordings", "mixes", "transcripts"),
)
