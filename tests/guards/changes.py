"""Which guards a change touches: their entry, a file that they are in, or a file of their tests.

For a run after the whole list was run once. What a test reaches beyond its own file is not followed: the whole list is
run before a release.
"""

import subprocess
from collections.abc import Iterable, Iterator

from tests.guards.listed import HERE, ROOT, Guard, read


def touched(guards: Iterable[Guard], since: str) -> Iterator[Guard]:
    """Those of the guards that are not what they were at that commit. ValueError: no such commit."""
    files = set(filter(None, _git("diff", "--name-only", "-z", since, "--").split("\0")))
    folder = HERE.relative_to(ROOT).as_posix()
    lists = _git("ls-tree", "-z", "--name-only", since, f"{folder}/").split("\0")
    before = {
        guard
        for name in lists
        if name.endswith(".toml")
        for guard in read(_git("show", f"{since}:{name}"), name.rpartition("/")[2].removesuffix(".toml"))
    }
    for guard in guards:
        of_it = {edit.file for edit in guard.edits} | {test.partition("::")[0] for test in guard.tests}
        if guard not in before or of_it & files:
            yield guard


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout
