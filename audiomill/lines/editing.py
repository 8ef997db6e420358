"""Edits of the lines of a dub: what a customer says of single lines, applied to the document that the voice reads.

What is shown is the lines as they came out, which know more (the voice that was chosen); what is edited is what they
were made from. An edit that says what is shown already changes nothing. What an edit costs is jobs' part.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audiomill.errors import BadRequest
from audiomill.lines.document import LONGEST_TEXT, Line, Lines, Milliseconds

MOST_EDITS = 10_000
"""Lines in one request."""

_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
_NEVER_NULL = ("text", "translation", "start_ms", "end_ms")


class LineEdit(BaseModel):
    """What is to be otherwise of one line. What is left out stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(description="of the line")
    text: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(
        None, description="what is said in the source; without `translation` the line is translated anew"
    )
    translation: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = Field(None, description="what is spoken")
    voice: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="the engine's voice that speaks it; null: its speaker's again"
    )
    start_ms: Milliseconds | None = Field(None, description="where it should begin")
    end_ms: Milliseconds | None = Field(None, description="where it should have ended")

    @model_validator(mode="after")
    def _says_something(self) -> "LineEdit":
        if not self.model_fields_set - {"id"}:
            raise ValueError("says nothing of its line: give text, translation, voice, start_ms or end_ms")
        if null := [name for name in _NEVER_NULL if name in self.model_fields_set and getattr(self, name) is None]:
            raise ValueError(f"{null[0]} cannot be null; leave it out, and it stays as it is")
        if any(isinstance(value, str) and _UNSPEAKABLE.search(value) for value in self.given().values()):
            raise ValueError("there is a zero character or half of a character (a lone surrogate); leave it out")
        return self

    def given(self) -> dict[str, object]:
        """The fields that it names."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "id"}


@dataclass(frozen=True)
class Edited:
    """The document with edits. changed: ids of its lines that are otherwise now, in their order.

    to_translate: some of them have no translation any more.
    """

    document: Lines
    changed: tuple[str, ...]
    to_translate: bool

    @property
    def changed_seconds(self) -> float:
        """Of sound: the time that the changed lines have."""
        changed = set(self.changed)
        return sum(line.end_ms - line.start_ms for line in self.document.lines if line.id in changed) / 1000


def edited(document: Lines, edits: Sequence[LineEdit], *, shown: Lines, translates: bool) -> Edited:
    """Apply edits to a document. translates: what has no translation is given one; if not, a text is only shown.

    Raises BadRequest (`line_twice`, `unknown_line`, `bad_line`).
    """
    by_id = _by_id(edits)
    as_shown = {line.id: line for line in shown.lines}
    if unknown := sorted(by_id.keys() - as_shown.keys()):
        raise BadRequest(
            f"There is no line {unknown[0]!r}. GET the lines and name them by their ids.", code="unknown_line"
        )
    lines, changed = [], []
    for line in document.lines:
        edit = by_id.get(line.id)
        told = line if edit is None else _told(line, edit, as_shown[line.id], document.duration_ms, translates)
        if told != line:
            changed.append(line.id)
        lines.append(told)
    # A line that was moved past another one stands after it: documents are in the order of starts.
    lines.sort(key=lambda line: line.start_ms)
    told_of = {line.id: line for line in lines}
    return Edited(
        document.model_copy(update={"lines": tuple(lines)}),
        tuple(changed),
        translates and any(told_of[name].translation is None for name in changed),
    )


def _by_id(edits: Sequence[LineEdit]) -> Mapping[str, LineEdit]:
    by_id: dict[str, LineEdit] = {}
    for edit in edits:
        if edit.id in by_id:
            raise BadRequest(f"The line {edit.id!r} is edited twice. Say all of it at once.", code="line_twice")
        by_id[edit.id] = edit
    return by_id


def _told(line: Line, edit: LineEdit, shown: Line, duration_ms: int, translates: bool) -> Line:
    said = {name: value for name, value in edit.given().items() if value != getattr(shown, name)}
    if "voice" in edit.model_fields_set and edit.voice is None:
        said["voice"] = None
    if translates and "text" in said and "translation" not in edit.model_fields_set:
        said["translation"] = None
    told = line.model_copy(update=said)
    # Times that nobody edits stay as they came, whatever they are.
    timed = bool({"start_ms", "end_ms"} & said.keys())
    if timed and told.end_ms <= told.start_ms:
        raise BadRequest(
            f"Line {line.id} would end at {told.end_ms} ms and start at {told.start_ms} ms. Give it an end after its "
            "start.",
            code="bad_line",
        )
    if timed and told.end_ms > duration_ms:
        raise BadRequest(
            f"Line {line.id} would end at {told.end_ms} ms, and the recording ends at {duration_ms} ms. End it before "
            "that.",
            code="bad_line",
        )
    return told
