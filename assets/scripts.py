"""Scripts: the product of the stage `cast`."""

from assets.batch_products import batch_product
from audiomill.catalogue.stages import STAGES

scripts = batch_product(
    STAGES["cast"],
    description="The lines of each dub of a batch: what is said when, by whom, how high that voice is.",
    code_version="1",
    kinds={"json"},
    made_from=("stems", "transcripts", "recordings"),
)
