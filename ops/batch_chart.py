"""A picture of a batch from its figures alone, for a run that left no picture of its own. No names, no content."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from audiomill.jobs.queries import BatchRow

WIDTH, HEIGHT, MARGIN = 960, 240, 24
COLOURS = {"complete": "#2e7d32", "failed": "#c62828", "cancelled": "#9e9e9e"}
OPEN = "#1565c0"


def batch_chart(rows: Sequence[BatchRow]) -> bytes:
    """PNG: a bar per job in the order of the batch, as tall as its audio is long, in the colour of its state."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    floor = HEIGHT - MARGIN
    longest = max((row.audio_seconds for row in rows), default=0.0) or 1.0
    step = (WIDTH - 2 * MARGIN) / max(1, len(rows))
    for place, row in enumerate(rows):
        left = MARGIN + place * step
        # A job that failed before its length was known still shows as a stub.
        top = floor - max(3.0, (floor - 2 * MARGIN) * row.audio_seconds / longest)
        draw.rectangle((left, top, left + max(1.0, step * 0.8), floor), fill=COLOURS.get(row.state, OPEN))
    draw.line((MARGIN, floor, WIDTH - MARGIN, floor), fill="black")
    draw.text((MARGIN, 4), f"{len(rows)} jobs; the tallest bar is {longest:.1f} s of audio", fill="black")
    for place, (state, colour) in enumerate([*COLOURS.items(), ("open", OPEN)]):
        draw.text((WIDTH - 360 + 90 * place, 4), state, fill=colour)
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()
