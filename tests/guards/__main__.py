"""`python -m tests.guards [--only SUBSTRING]`: take each guard out, and see whether a test notices.

A test that has never failed proves nothing. Each entry of the list names a guard and the tests that stand for it; here
they must pass with it and fail without it. A test that breaks before it begins (an import, a fixture) is no proof.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from tests.guards.checkout import PASSED, Checkout, Outcome, copied
from tests.guards.listed import Guard, guards


def main() -> int:
    """The number of guards whose removal nobody noticed, as the exit code has it: 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.guards")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="guards whose file and point have this in them")
    parser.add_argument("--verbose", action="store_true", help="what pytest said, where a removal was not noticed")
    given = parser.parse_args()
    chosen = [guard for guard in guards() if given.only in str(guard)]
    unnoticed = 0
    with copied() as checkout:
        before = _with_guards(checkout, chosen)
        for guard in chosen:
            outcome = _without(checkout, guard, before)
            unnoticed += outcome.kind != "noticed"
            print(f"{outcome.kind:12} {guard}: {outcome.reason}", flush=True)
            if given.verbose and outcome.kind != "noticed":
                print(checkout.said(), file=sys.stderr)
    print(f"{len(chosen)} guards, {len(chosen) - unnoticed} noticed, {unnoticed} not")
    return 1 if unnoticed or not chosen else 0


def _with_guards(checkout: Checkout, chosen: Sequence[Guard]) -> Mapping[str, Outcome]:
    """How the tests end when nothing is taken out: one that fails anyway notices nothing."""
    tests = sorted({test for guard in chosen for test in guard.tests})
    seconds = max((guard.seconds for guard in chosen), default=60)
    return checkout.test(tests, seconds=seconds, until_one_fails=False) if tests else {}


def _without(checkout: Checkout, guard: Guard, before: Mapping[str, Outcome]) -> Outcome:
    useful = [test for test in guard.tests if before.get(test, Outcome("none")).kind == PASSED]
    if not useful:
        how = "; ".join(f"{test} {_told(before.get(test))}" for test in guard.tests)
        return Outcome("NOT PROVEN", f"with the guard in place: {how}")
    with checkout.without(guard.edits):
        after = checkout.test(useful, seconds=guard.seconds, until_one_fails=True)
    for test in useful:
        if after.get(test, Outcome("none")).kind == "failure":
            return Outcome("noticed", f"{test.rpartition('::')[2]}: {after[test].reason}")
    how = "; ".join(f"{test.rpartition('::')[2]} {_told(after.get(test))}" for test in useful)
    return Outcome("NOT NOTICED", how)


def _told(outcome: Outcome | None) -> str:
    return "did not run" if outcome is None else f"{outcome.kind} {outcome.reason}".strip()


if __name__ == "__main__":
    sys.exit(main())
