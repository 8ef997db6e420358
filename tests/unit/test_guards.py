"""The list of guards is true of the code as it is: texts and tests are there. `make guards` takes them out."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.guards import changes
from tests.guards.__main__ import NOTICED, without
from tests.guards.checkout import PASSED, Outcome, copied
from tests.guards.listed import ROOT, Edit, Guard, guards, read

GUARDS = list(guards())


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_a_guard_can_be_taken_out_and_leaves_code_that_compiles(guard: Guard) -> None:
    assert guard.edits
    texts: dict[str, str] = {}
    for edit in guard.edits:
        texts[edit.file] = edit.made(texts.get(edit.file) or (ROOT / edit.file).read_text(encoding="utf-8"))
        assert edit.put != edit.remove
    for file, text in texts.items():
        if file.endswith(".py"):
            ast.parse(text, filename=file)


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_its_tests_exist(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        file, *names = test.partition("[")[0].split("::")
        assert _has(file, tuple(names)), test


def test_no_guard_s_place_is_taken_by_names_that_are_not_there(tmp_path: Path) -> None:
    """Else its test fails by that, and would whether it looks at the guard or not."""
    for number, guard in enumerate(GUARDS):
        texts: dict[str, str] = {}
        for edit in guard.edits:
            texts[edit.file] = edit.made(texts.get(edit.file) or (ROOT / edit.file).read_text(encoding="utf-8"))
        for file, text in texts.items():
            if file.endswith(".py"):
                (tmp_path / f"{number}-{file.replace('/', '.')}").write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "concise"]
    found = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_point_is_listed_twice() -> None:
    assert len({str(guard) for guard in GUARDS}) == len(GUARDS)


@pytest.mark.parametrize("what", ["nothing", "code", "test", "entry"])
def test_what_changed_since_is_the_entry_its_code_or_its_tests(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = '[[guard]]\npoint = "p"\nfile = "a/x.py"\nremove = "x"\nput = ""\ntests = ["tests/t.py::test_it"]\n'
    answers = {
        "diff": {"nothing": "other.py\0", "code": "a/x.py\0", "test": "tests/t.py\0", "entry": ""}[what],
        "ls-tree": "tests/guards/__main__.py\0tests/guards/one.toml\0",
        "show": entry,
    }
    monkeypatch.setattr(changes, "_git", lambda command, *_: answers[command])
    now = list(read(entry.replace('remove = "x"', 'remove = "y"') if what == "entry" else entry, "one"))
    assert list(changes.touched(now, "HEAD")) == ([] if what == "nothing" else now)


@cache
def _names(file: str) -> frozenset[tuple[str, ...]]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found: set[tuple[str, ...]] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add((node.name,))
        if isinstance(node, ast.ClassDef):
            found |= {(node.name, inner.name) for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            # `TestMachine = Machine.TestCase`, Hypothesis' way: its one test is inherited.
            targets = {target.id for target in node.targets if isinstance(target, ast.Name)}
            found |= {names for target in targets for names in ((target,), (target, "runTest"))}
    return frozenset(found)


def _has(file: str, names: tuple[str, ...]) -> bool:
    return (ROOT / file).is_file() and names in _names(file)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_only_a_test_that_fails_is_a_witness() -> None:
    """Of the command itself: what nobody notices is told, and what breaks before a test begins is no proof."""
    file = "audiomill/engines/cores.py"
    test = "tests/unit/test_engine_cores.py::test_no_cores_is_refused"
    refusal = "        if cores < 1:\n"
    outcomes = {}
    before = {test: Outcome(PASSED)}
    with copied() as checkout:
        for name, put in {
            "taken out": "        if cores < -1:\n",
            "written otherwise": "        if not cores >= 1:\n",
            "does not compile": "        if cores < :\n",
        }.items():
            guard = Guard("x", name, (Edit(file, refusal, put),), (test,))
            outcomes[name] = without(checkout, guard, before).kind
        assert (checkout.tree / file).read_text() == (ROOT / file).read_text()
    assert outcomes == {"taken out": NOTICED, "written otherwise": "NOT NOTICED", "does not compile": "NOT NOTICED"}
