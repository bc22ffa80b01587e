"""All phases on one database, each printed as it ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from tests.storm import restart
from tests.storm.ground import Ground
from tests.storm.phase import Phase, Result
from tests.storm.plan import draw

CALM = "calm"
CALM_SECONDS = 10.0
SHOWN = 6  # violations of each invariant


def run(ground: Ground, seconds: dict[str, float]) -> list[Result]:
    """A calm phase, then each kind for its seconds, in the plan's order."""
    _make_tables()
    results = []
    for name, duration in {CALM: CALM_SECONDS, **seconds}.items():
        result = Phase(ground, draw(ground.seed, name, duration, database=ground.database)).play()
        results.append(result)
        print(told(result), flush=True)
        for text in some(result.violations):
            print(f"    VIOLATION {text}", flush=True)
    return results


def measure_restarts(ground: Ground) -> bool:
    """With and without connections that outlive a task; whether every target was met."""
    _make_tables()
    recoveries = [restart.run(ground, reuse) for reuse in (100, 0)]
    print("\n".join(map(str, recoveries)), flush=True)
    return not any(recovery.failed for recovery in recoveries)


def _make_tables() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0, database="direct")
    connections.close_all()


def some(violations: list[str]) -> Iterator[str]:
    """A few of each invariant, so that one does not hide the others."""
    shown = Counter[str]()
    for text in violations:
        number = text.partition(" ")[0]
        shown[number] += 1
        if shown[number] <= SHOWN:
            yield text
    yield from (f"{number} and {count - SHOWN} more" for number, count in shown.items() if count > SHOWN)


def told(result: Result) -> str:
    faults = ", ".join(f"{count} {name}" for name, count in sorted(result.faults.items())) or "no fault"
    return (
        f"{result.database:8} {result.name:9} {result.executions:6} executions {result.steps:7} steps "
        f"{result.steps_per_second:5.0f}/s  settled {result.settled_seconds:4.1f} s  "
        f"repeated {result.repeated} of {result.may_repeat}  orders {result.orders}  "
        f"coalesced {result.coalesced}  pruned {result.pruned}  webhooks {result.webhooks}  "
        f"{len(result.violations)} violations  ({faults})"
    )


def save(results: list[Result], path: Path) -> None:
    path.write_text(json.dumps([vars(result) for result in results]))
