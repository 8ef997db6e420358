"""Plans: the steps by which a job is worked off, as a capability says them. Pure data, and whether it can be a plan.

Which engine a step gets is decided when the job is ordered (audiomill/jobs/resolving.py); when it runs, as the steps
that it reads end, is audiomill/jobs/advance.py's part.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from audiomill.catalogue.parameters import Feature

InputKind = Literal["audio", "text"]

SOURCE = "source"
"""The role of an input that is given without one, where its capability has a role of that name."""

_INPUT = "input:"
_ALL = "*"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Role:
    """What an input is to a job: its source, a voice, subtitles. `many`: it may have several files."""

    name: str
    kind: InputKind
    required: bool = True
    many: bool = False


@dataclass(frozen=True)
class Step:
    """One stage at work in a plan.

    name: unique within the plan; what receipts, pages and logs call it.
    options: the step's own, as JSON can say them: with what it reads, all that its result depends on.
    reads: `input:<role>` (the role's first file), `input:<role>*` (all of them), or `<step>/<part>`.
    optional: its failure leaves a warning on the job, and those who read it go on without.
    weight: of the job's progress.
    engine, model: as ordered; of a frozen plan, as chosen. language, features: what its engine must know.
    delivers: its files are outputs of the job; the last step's are, unless some step says so.
    """

    name: str
    stage: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = (f"{_INPUT}{SOURCE}",)
    optional: bool = False
    weight: float = 1.0
    engine: str = "auto"
    model: str | None = None
    language: str | None = None
    features: frozenset[Feature] = frozenset()
    delivers: bool = False

    @property
    def waits_for(self) -> frozenset[str]:
        """The steps that it reads a part of."""
        return frozenset(read.partition("/")[0] for read in self.reads if input_role(read) is None)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles whose files it reads, in the order of its reads."""
        return tuple(role for role in map(input_role, self.reads) if role is not None)

    def wanted_language(self) -> str | None:
        """The language that its engine must know (BCP 47, lower case, hyphens); None: any will do."""
        return self.language

    def wanted_features(self) -> frozenset[Feature]:
        """What its engine must be able to do."""
        return self.features


@dataclass(frozen=True)
class EditedLines:
    """Where a plan has lines (audiomill/lines) that customers read and edit: parts, `<step>/<part>`.

    shown: the lines as they came out. edited: what an edit takes the place of; all that reads it is made anew.
    translated: the same for lines whose text is to be translated anew; None: nobody translates.
    by_line: steps that make anew only what changed.
    """

    shown: str
    edited: str
    translated: str | None = None
    by_line: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The steps of a job, each after those that it reads. Raises ValueError: a wrong plan is its capability's fault.

    lines: where its customer may edit them.
    """

    steps: tuple[Step, ...]
    lines: EditedLines | None = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("A plan has at least one step.")
        known: set[str] = set()
        for step in self.steps:
            _check(step, known)
            known.add(step.name)
        if not any(step.delivers for step in self.steps):
            object.__setattr__(self, "steps", (*self.steps[:-1], replace(self.steps[-1], delivers=True)))
        if all(step.optional for step in self.steps if step.delivers):
            raise ValueError("Each step that delivers may be left out.")
        self._check_lines()

    def _check_lines(self) -> None:
        """What is edited is of a step that is sure, that delivers nothing, and that something reads."""
        if self.lines is None:
            return
        steps = {step.name: step for step in self.steps}
        for part in (self.lines.edited, self.lines.translated):
            step = None if part is None else steps.get(part.partition("/")[0])
            if part is not None and (step is None or step.optional or step.delivers):
                raise ValueError(f"An edit cannot take the place of {part!r}.")
            if part is not None and not any(part in reader.reads for reader in self.steps):
                raise ValueError(f"Nothing reads {part!r}.")
        if {part.partition("/")[0] for part in (self.lines.shown, *self.lines.by_line)} - set(steps):
            raise ValueError("The plan has not all of the steps that its lines are of.")

    @property
    def roles(self) -> frozenset[str]:
        """The roles that any step reads."""
        return frozenset(role for step in self.steps for role in step.roles)

    def to_json(self) -> dict[str, Any]:
        """As it is kept with its job."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "stage": step.stage,
                    "options": dict(step.options),
                    "reads": list(step.reads),
                    "optional": step.optional,
                    "weight": step.weight,
                    "engine": step.engine,
                    "model": step.model,
                    "delivers": step.delivers,
                }
                for step in self.steps
            ],
            **({} if self.lines is None else {"lines": asdict(self.lines)}),
        }


def edited_lines(plan: Mapping[str, Any]) -> EditedLines | None:
    """Of a plan as it is kept with its job."""
    kept = plan.get("lines")
    return None if kept is None else EditedLines(**{**kept, "by_line": tuple(kept["by_line"])})


def input_role(read: str) -> str | None:
    """The role whose files are read; None where it is a part of a step."""
    return read.removeprefix(_INPUT).removesuffix(_ALL) if read.startswith(_INPUT) else None


def read_of(role: str, *, all_files: bool = False) -> str:
    """How a step says that it reads a role's first file, or all of them."""
    return f"{_INPUT}{role}{_ALL if all_files else ''}"


def reads_all(read: str) -> bool:
    """Whether all files of the role are read."""
    return read.endswith(_ALL)


def _check(step: Step, known: set[str]) -> None:
    """Raises ValueError for a step that may not come after the known ones."""
    if not _NAME.fullmatch(step.name):
        raise ValueError(f"{step.name!r} is no name of a step.")
    if step.name in known:
        raise ValueError(f"The step {step.name!r} is there twice.")
    if not step.weight > 0:
        raise ValueError(f"The step {step.name!r} weighs nothing.")
    if not step.reads or len(set(step.reads)) < len(step.reads):
        raise ValueError(f"The step {step.name!r} reads nothing, or something twice.")
    for read in step.reads:
        source, slash, part = read.partition("/")
        if input_role(read) is None and not (slash and part and source in known):
            raise ValueError(f"The step {step.name!r} reads {read!r}, which nothing before it makes.")
