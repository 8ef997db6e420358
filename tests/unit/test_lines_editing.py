"""Edits of lines: what they change, what they leave, what is refused; whatever is edited, the document holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audiomill.errors import BadRequest
from audiomill.lines.document import Line, Lines
from audiomill.lines.editing import Edited, LineEdit, edited
from tests.unit.test_audio_broken import is_sentence


def lines(*, spoken: bool = False) -> Lines:
    """Three lines; as they come out their voices are known."""
    known: dict[str, Any] = {"voice": "roa/es", "spoken_ms": 500} if spoken else {}
    return Lines(
        source_language="en",
        target_language="es",
        duration_ms=10_000,
        lines=tuple(
            Line(id=f"L{at}", start_ms=1000 * at, end_ms=1000 * at + 900, text=f"t{at}", translation=f"d{at}", **known)
            for at in range(3)
        ),
    )


def edit(*edits: dict[str, Any], translates: bool = True) -> Edited:
    given_edits = [LineEdit.model_validate(each) for each in edits]
    return edited(lines(), given_edits, shown=lines(spoken=True), translates=translates)


def test_what_is_named_changes_and_the_rest_stays() -> None:
    found = edit({"id": "L1", "translation": "otra", "voice": "roa/es+f2", "start_ms": 1100, "end_ms": 2000})
    line = found.document.lines[1]
    assert (line.text, line.translation, line.voice, line.start_ms, line.end_ms) == (
        "t1",
        "otra",
        "roa/es+f2",
        1100,
        2000,
    )
    assert (found.changed, found.to_translate, found.changed_seconds) == (("L1",), False, 0.9)
    assert found.document.lines[::2] == lines().lines[::2]


@pytest.mark.parametrize(
    "said", [{"translation": "d1"}, {"text": "t1"}, {"voice": "roa/es"}, {"voice": None}, {"start_ms": 1000}]
)
def test_what_is_so_already_changes_nothing(said: dict[str, Any]) -> None:
    found = edit({"id": "L1", **said})
    assert (found.document, found.changed, found.to_translate) == (lines(), (), False)


def test_a_text_without_a_translation_is_to_be_translated_anew() -> None:
    found = edit({"id": "L1", "text": "other"})
    assert [line.translation for line in found.document.lines] == ["d0", None, "d2"]
    assert found.to_translate
    both = edit({"id": "L1", "text": "other", "translation": "d1"})
    assert (both.document.lines[1].translation, both.to_translate) == ("d1", False)
    shown_only = edit({"id": "L1", "text": "other"}, translates=False)
    assert (shown_only.document.lines[1].translation, shown_only.to_translate) == ("d1", False)


def test_a_line_that_is_moved_stands_where_it_begins() -> None:
    found = edit({"id": "L0", "start_ms": 5000, "end_ms": 6000})
    assert [line.id for line in found.document.lines] == ["L1", "L2", "L0"]
    assert Lines.from_json(found.document.to_json()) == found.document


def test_a_line_that_has_no_time_may_be_edited_but_for_its_times() -> None:
    """Subtitles may begin and end in the same millisecond."""
    short = Line(id="L0", start_ms=5, end_ms=5, text="t", translation="d")
    document = Lines(source_language="en", target_language="es", duration_ms=10, lines=(short,))
    found = edited(document, [LineEdit(id="L0", translation="otra")], shown=document, translates=True)
    assert (found.changed, found.document.lines[0].translation) == (("L0",), "otra")
    with pytest.raises(BadRequest):
        edited(document, [LineEdit(id="L0", start_ms=6)], shown=document, translates=True)


@pytest.mark.parametrize(
    ("edits", "code"),
    [
        ([{"id": "L9", "text": "x"}], "unknown_line"),
        ([{"id": "L1", "text": "x"}, {"id": "L1", "text": "y"}], "line_twice"),
        ([{"id": "L1", "end_ms": 1000}], "bad_line"),
        ([{"id": "L1", "start_ms": 1900}], "bad_line"),
        ([{"id": "L1", "end_ms": 10_001}], "bad_line"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(edits: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        edit(*edits)
    assert caught.value.code == code
    assert is_sentence(caught.value.message), caught.value.message


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"text": None},
        {"start_ms": None},
        {"start_ms": -1},
        {"spoken_ms": 5},
        {"translation": "x" * 5001},
        {"voice": ""},
    ],
)
def test_what_is_no_edit_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LineEdit.model_validate({"id": "L1", **said})


edits = st.fixed_dictionaries(
    {"id": st.sampled_from(["L0", "L1", "L2"])},
    optional={
        "text": st.sampled_from(["t1", "other", ""]),
        "translation": st.sampled_from(["d1", "otra", ""]),
        "voice": st.sampled_from([None, "roa/es", "roa/es+m1"]),
        "start_ms": st.integers(0, 11_000),
        "end_ms": st.integers(0, 11_000),
    },
).filter(lambda each: len(each) > 1)


@given(said=st.lists(edits, max_size=3, unique_by=lambda each: each["id"]), translates=st.booleans())
def test_whatever_is_edited_the_document_holds_and_nothing_else_changes(
    said: list[dict[str, Any]], translates: bool
) -> None:
    try:
        found = edit(*said, translates=translates)
    except BadRequest:
        return
    assert Lines.from_json(found.document.to_json()) == found.document
    before = {line.id: line for line in lines().lines}
    after = {line.id: line for line in found.document.lines}
    assert set(found.changed) == {name for name in before if before[name] != after[name]}
    assert found.to_translate == any(line.translation is None for line in after.values())
    assert set(found.changed) <= {each["id"] for each in said}
