"""`python -m tests.guards [--only SUBSTRING] [--since COMMIT]`: take each guard out, and see whether a test notices.

A test that has never failed proves nothing. Each entry of the list names a guard and the tests that stand for it; here
they must pass with it and fail without it. A test that breaks before it begins (an import, a fixture) is no proof.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.guards.changes import touched
from tests.guards.checkout import PASSED, Checkout, Outcome, copied, outcomes
from tests.guards.listed import Guard, guards

NOTICED = "noticed"


def main() -> int:
    """The exit code: 0 when every removal was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.guards")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="guards whose file and point have this in them")
    parser.add_argument(
        "--since", metavar="COMMIT", help="guards that changed, or whose code or tests did (changes.py)"
    )
    passed = "a JUnit report of pytest on this very tree: what passed there is not run again with its guard in place"
    parser.add_argument("--passed", action="append", default=[], type=Path, metavar="FILE", help=passed)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at once, each in a copy of its own")
    parser.add_argument("--verbose", action="store_true", help="what pytest said, where a removal was not noticed")
    given = parser.parse_args()
    # Copies and what runs in them go, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [guard for guard in guards() if given.only in str(guard)]
    if given.since:
        try:
            chosen = list(touched(chosen, given.since))
        except ValueError as error:
            parser.error(str(error))
    noticed = 0
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(given.jobs))
        copies: SimpleQueue[Checkout] = SimpleQueue()
        for _ in range(given.jobs):
            copies.put(stack.enter_context(copied()))
        before = _with_guards(pool, copies, chosen, given.jobs, given.passed)

        def tried(guard: Guard) -> tuple[Guard, Outcome, str]:
            with _one_of(copies) as checkout:
                outcome = without(checkout, guard, before)
                return guard, outcome, checkout.said()

        for guard, outcome, said in pool.map(tried, chosen):
            noticed += outcome.kind == NOTICED
            print(f"{outcome.kind:12} {guard}: {outcome.reason}", flush=True)
            if given.verbose and outcome.kind != NOTICED:
                print(said, file=sys.stderr)
    print(f"{len(chosen)} guards, {noticed} noticed, {len(chosen) - noticed} not")
    return 0 if (chosen or given.since) and noticed == len(chosen) else 1


@contextmanager
def _one_of(copies: "SimpleQueue[Checkout]") -> Iterator[Checkout]:
    checkout = copies.get()
    try:
        yield checkout
    finally:
        copies.put(checkout)


def _with_guards(
    pool: ThreadPoolExecutor,
    copies: "SimpleQueue[Checkout]",
    chosen: Sequence[Guard],
    jobs: int,
    reports: Sequence[Path],
) -> Mapping[str, Outcome]:
    """How the tests end when nothing is taken out: one that fails anyway notices nothing."""
    limits: dict[str, int] = {}
    for guard in chosen:
        limits.update({test: max(guard.seconds, limits.get(test, 0)) for test in guard.tests})
    known = {
        test: outcome
        for report in reports
        for test, outcome in outcomes(report, sorted(limits)).items()
        if outcome.kind == PASSED
    }
    tests = sorted(limits.keys() - known.keys())
    share = -(-len(tests) // jobs)

    def ran(part: Sequence[str]) -> Mapping[str, Outcome]:
        with _one_of(copies) as checkout:
            return checkout.test(part, seconds=max(limits[test] for test in part), until_one_fails=False)

    parts = [tests[start : start + share] for start in range(0, len(tests), share or 1)]
    return known | {test: outcome for ended in pool.map(ran, parts) for test, outcome in ended.items()}


def without(checkout: Checkout, guard: Guard, before: Mapping[str, Outcome]) -> Outcome:
    """What became of a guard's tests when it was taken out; `before`: how they end with it."""
    useful = [test for test in guard.tests if before.get(test, Outcome("none")).kind == PASSED]
    if not useful:
        how = "; ".join(f"{test} {_told(before.get(test))}" for test in guard.tests)
        return Outcome("NOT PROVEN", f"with the guard in place: {how}")
    with checkout.without(guard.edits):
        after = checkout.test(useful, seconds=guard.seconds, until_one_fails=True)
    for test in useful:
        if after.get(test, Outcome("none")).kind == "failure":
            return Outcome(NOTICED, f"{test.rpartition('::')[2]}: {after[test].reason}")
    how = "; ".join(f"{test.rpartition('::')[2]} {_told(after.get(test))}" for test in useful)
    return Outcome("NOT NOTICED", how)


def _told(outcome: Outcome | None) -> str:
    return "did not run" if outcome is None else f"{outcome.kind} {outcome.reason}".strip()


if __name__ == "__main__":
    sys.exit(main())
