"""Plant each bug in a copy of the repository and run the tests that should catch it. Exit status 1: one survived.

    python -m tests.planted [--only NAME] [--database postgres] [--no-baseline]

First the same tests run once without a bug: they must pass, each of them, or catching means nothing. And each tree
with a bug must still play one ordinary story: what breaks everything proves nothing either.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from tests.planted import tree
from tests.planted.bugs import BUGS, GENERAL, STORY, Bug
from tests.services import DATABASES, Unavailable, answer


@dataclass(frozen=True)
class Verdict:
    """text: the test that caught it and its kind, or what happened instead."""

    bug: Bug
    caught: bool
    text: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.bug.name:<{_WIDTH}} {self.bug.database:<9}{self.seconds:5.1f} s  {self.text}"


_WIDTH = max(len(bug.name) for bug in BUGS)


def main() -> int:
    chosen = _arguments()
    bugs = [bug for bug in BUGS if bug.name in (chosen.only or [bug.name]) and bug.database in chosen.database]
    if not bugs:
        raise SystemExit("planted: no bug has that name and is caught on that database")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for database in {bug.database for bug in bugs}:
        _require(database)
        if chosen.baseline:
            _pass_without_a_bug(database, [bug for bug in bugs if bug.database == database])
    verdicts = [_try(bug) for bug in bugs]
    print("\n".join(["", "==== Planted bugs", *map(str, verdicts)]))
    survived = [verdict.bug.name for verdict in verdicts if not verdict.caught]
    print(f"{len(verdicts) - len(survived)} of {len(verdicts)} were caught; survived: {', '.join(survived) or 'none'}")
    return int(bool(survived))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=[bug.name for bug in BUGS], metavar="NAME")
    parser.add_argument("--database", action="append", choices=list(DATABASES), help="only bugs that are caught on it")
    parser.add_argument("--no-baseline", dest="baseline", action="store_false", help="skip the run without a bug")
    chosen = parser.parse_args()
    chosen.database = chosen.database or list(DATABASES)
    return chosen


def _require(database: str) -> None:
    try:
        answer(DATABASES[database])
    except Unavailable as reason:
        raise SystemExit(f"planted: {DATABASES[database].title} is needed: {reason}") from None


def _pass_without_a_bug(database: str, bugs: Iterable[Bug]) -> None:
    tests = list(dict.fromkeys([STORY, *(test for bug in bugs for test in bug.tests)]))
    with tree.planted([]) as copy:
        run = tree.run(copy, tests, database=database, limit_seconds=tree.LIMIT_SECONDS * len(tests))
    idle = [test for test in tests if not any(passed.startswith(test) for passed in run.passed)]
    if run.status != 0 or idle:
        raise SystemExit(f"{run.output}\nplanted: without a bug these tests do not all pass: {run.failed or idle}")
    print(f"without a bug: {len(run.passed)} tests pass on {database} in {run.seconds:.0f} s", flush=True)


def _try(bug: Bug) -> Verdict:
    with tree.planted(bug.edits) as copy:
        run = tree.run(copy, [STORY, *bug.tests], database=bug.database)
    caught, text = _judge(run)
    verdict = Verdict(bug, caught, text, run.seconds)
    print(verdict if caught else f"{run.output}\n{verdict}", flush=True)
    if run.error:
        print(f"    {run.error.splitlines()[0][:150]}", flush=True)
    return verdict


def _judge(run: tree.Run) -> tuple[bool, str]:
    if STORY not in run.passed:
        return False, "BROKEN: not even the ordinary story passes"
    if run.status is None:
        return False, "SURVIVED: the tests did not end"
    if run.status != 1 or not run.failed:
        return False, f"SURVIVED: pytest ended with {run.status}"
    test = run.failed[0]
    return True, f"{test} ({'general' if test.partition('::')[0] in GENERAL else 'own'})"


if __name__ == "__main__":
    raise SystemExit(main())
