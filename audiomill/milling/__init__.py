"""What a run does with a batch, blind to stages: the stage protocol, the stream, fetching, delivery, the writer.

Names no stage, and knows no Dagster.
"""
