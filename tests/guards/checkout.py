"""A copy of the checkout in which guards are taken out, with a Python that imports the copy. Which ones: __main__.

The Python is a virtual environment of its own, for child processes that take no PYTHONPATH (decoding is started with
`-I` and an empty environment) would import the checkout that is installed.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil

from tests.guards.listed import ROOT, Edit

PASSED = "passed"
_MARK = "GUARDS_OF"
"""Environment variable by which everything that the tests started is found, whatever group it is in."""


@dataclass(frozen=True)
class Outcome:
    """How one test ended: what pytest's report says, the reason beside it."""

    kind: str
    reason: str = ""


class Checkout:
    """The copy and its environment, below one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tree = folder / "tree"
        self._environment = folder / "environment"
        # For what a test that is killed leaves behind. Anyone's, as /tmp is.
        self._scratch = folder / "t"
        self._scratch.mkdir()
        self._scratch.chmod(0o1777)
        self._copy_tree()
        self._make_environment()

    def _copy_tree(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.tree / name)
        # Real recordings lie beside the checkout.
        (self._folder / "shared").symlink_to(ROOT.parent / "shared")

    def _make_environment(self) -> None:
        venv.create(self._environment, symlinks=True)
        paths = {"base": str(self._environment), "platbase": str(self._environment)}
        # Lines of a .pth file are folders; the .pth files in those, the editable install's among them, are not read.
        (Path(sysconfig.get_path("purelib", "venv", paths)) / "copy.pth").write_text(
            f"{self.tree}\n{sysconfig.get_path('purelib')}\n"
        )
        for script in Path(sysconfig.get_path("scripts")).iterdir():
            beginning, _, rest = script.read_bytes().partition(b"\n") if script.is_file() else (b"", b"", b"")
            if beginning.startswith(b"#!") and b"python" in beginning:
                ours = self._environment / "bin" / script.name
                ours.write_bytes(b"#!" + bytes(self.python) + b"\n" + rest)
                ours.chmod(0o755)

    @property
    def python(self) -> Path:
        """The interpreter whose audiomill is the copy."""
        return self._environment / "bin" / "python"

    def imported_from(self) -> Path:
        """Where a child process in which nothing is said of paths finds audiomill."""
        program = "import audiomill; print(audiomill.__file__)"
        command = [str(self.python), "-I", "-c", program]
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", env={})
        return Path(found.stdout.strip())

    @contextlib.contextmanager
    def without(self, edits: Sequence[Edit]) -> Iterator[None]:
        """The edits made; undone at the end."""
        whole = {edit.file: (self.tree / edit.file).read_text(encoding="utf-8") for edit in edits}
        try:
            for edit in edits:
                self._write(edit.file, edit.made((self.tree / edit.file).read_text(encoding="utf-8")))
            yield
        finally:
            for file, text in whole.items():
                self._write(file, text)

    def _write(self, file: str, text: str) -> None:
        path = self.tree / file
        path.write_text(text, encoding="utf-8")
        # Compiled code is known by size and second: two edits within one would be taken for each other.
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def test(self, tests: Sequence[str], *, seconds: int, until_one_fails: bool) -> Mapping[str, Outcome]:
        """Run tests in the copy, `seconds` for each. How each ended, by its name; one that never came is left out."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        command = [
            *(str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            # Half of what a start costs; the tests that need it import it.
            *(("-p", "no:schemathesis") if not any("schema_fuzz" in test for test in tests) else ()),
            *(f"--timeout={seconds}", f"--junitxml={report}", *(["-x"] if until_one_fails else [])),
            *tests,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOMILL_")}
        environment |= {"PYTHONPATH": str(self.tree), "TMPDIR": str(self._scratch), _MARK: str(self._folder)}
        with (self._folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.tree, env=environment, stdout=output, stderr=output, start_new_session=True
            )
            try:
                process.wait(timeout=300 + seconds * len(tests))
            except subprocess.TimeoutExpired:
                # pytest's own limit did not end it: a hang in C, or in what cleans up.
                return dict.fromkeys(tests, Outcome("failure", "hung"))
            finally:
                self._end(process)
        if not report.exists() and process.returncode < 0:
            return dict.fromkeys(tests, Outcome("failure", f"took pytest with it: signal {-process.returncode}"))
        return outcomes(report, tests) if report.exists() else {}

    def said(self) -> str:
        """The end of what pytest said last."""
        return (self._folder / "output.txt").read_text(errors="replace")[-3000:]

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Nothing that was started for the tests outlives them, whatever they left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for other in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if other.environ().get(_MARK) == str(self._folder):
                    other.kill()


def outcomes(report: Path, tests: Sequence[str]) -> dict[str, Outcome]:
    """How tests ended by a JUnit report of pytest's; those that are not in it are left out."""
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        ended = next((one for one in case if one.tag in {"failure", "error", "skipped"}), None)
        outcome = Outcome(PASSED) if ended is None else Outcome(ended.tag, _in_a_few_words(ended.get("message", "")))
        for test in tests:
            # A parametrised test failed when one of its cases did.
            if _is(case, test) and found.get(test, Outcome(PASSED)).kind in {PASSED, "skipped"}:
                found[test] = outcome
    return found


def _is(case: ET.Element, test: str) -> bool:
    file, _, name = test.partition("::")
    *classes, function = name.split("::")
    module = ".".join([*Path(file).with_suffix("").parts, *classes])
    reported = case.get("name", "")
    return case.get("classname") == module and (reported == function or reported.startswith(f"{function}["))


def _in_a_few_words(message: str) -> str:
    return " ".join(message.split())[:110]


@contextlib.contextmanager
def copied() -> Iterator[Checkout]:
    """A copy for as long as it is needed. Raises RuntimeError when a child process would import anything else."""
    # Not closed: PostgreSQL, and the tests' other user, enter as users of their own.
    with tempfile.TemporaryDirectory(prefix="guards-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        checkout = Checkout(Path(folder))
        if not checkout.imported_from().is_relative_to(checkout.tree):
            raise RuntimeError(f"child processes of {sys.executable} import {checkout.imported_from()}, not the copy")
        yield checkout
