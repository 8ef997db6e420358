"""lines.json: read back as written, refused with a place, valid by its schema, told in both languages."""

import json

import jsonschema
import pytest

from audiomill.errors import BadInput
from audiomill.lines import Line, Lines, read_subtitles
from audiomill.lines.document import numbered, schema
from audiomill.transcripts import Segment
from audiomill.transcripts.formats import render

SPOKEN = Lines(
    source_language="en",
    target_language="es",
    duration_ms=10_000,
    lines=(
        Line(id="L00001", speaker="S1", start_ms=0, end_ms=2000, text="Hello.", translation="Hola.", spoken_ms=1900),
        Line(id="L00002", speaker="S2", start_ms=3000, end_ms=4000, text="No.", translation="¡Que no!", spoken_ms=3000),
    ),
)


def test_it_comes_back_as_written_and_keeps_its_schema():
    placed = SPOKEN.fitted()
    assert Lines.from_json(placed.to_json()) == placed
    assert placed.to_json() == Lines.from_json(placed.to_json()).to_json()
    jsonschema.validate(json.loads(placed.to_json()), schema())
    jsonschema.validate(json.loads(SPOKEN.to_json()), schema())


def test_it_is_fitted_and_its_drift_told():
    placed = SPOKEN.fitted()
    assert [line.fit for line in placed.lines] == ["own", "after"]
    assert [line.drift_ms for line in placed.lines] == [0, 1400]
    assert placed.drift() == (1400, 1400)
    assert SPOKEN.drift() == (0, 0)
    with pytest.raises(ValueError, match="L1 was not spoken"):
        Lines(
            source_language="en", target_language="es", duration_ms=1, lines=numbered([Segment("a", 0, 1)])
        ).model_copy(update={"lines": (Line(id="L1", start_ms=0, end_ms=1, text="a"),)}).fitted()


def test_subtitles_of_both_languages():
    placed = SPOKEN.fitted()
    source = read_subtitles(render(placed.transcript("source"), "srt"))
    target = read_subtitles(render(placed.transcript("target"), "vtt"))
    assert [line.text for line in source.lines] == ["Hello.", "No."]
    assert [line.text for line in target.lines] == ["Hola.", "¡Que no!"]
    assert [line.start_ms for line in target.lines] == [line.actual_start_ms for line in placed.lines]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lines": [{"id": "L1", "start_ms": 2, "end_ms": 1, "text": "a"}]}, "lines.0"),
        ({"lines": [{"id": "L1", "start_ms": -2, "end_ms": 1, "text": "a"}]}, "lines.0.start_ms"),
        ({"lines": [{"id": "L1", "start_ms": 0, "end_ms": 1, "text": "a", "rate": 2.0}]}, "lines.0.rate"),
        (
            {"lines": [{"id": n, "start_ms": 9 - i, "end_ms": 9, "text": ""} for i, n in enumerate("ab")]},
            "the document",
        ),
        ({"lines": [{"id": "a", "start_ms": 0, "end_ms": 9, "text": ""}] * 2}, "the document"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(change, place):
    document = {"source_language": "en", "target_language": "es", "duration_ms": 10, "lines": []} | change
    with pytest.raises(BadInput, match=place):
        Lines.from_json(json.dumps(document).encode())
    with pytest.raises(BadInput):
        Lines.from_json(b"no json")
