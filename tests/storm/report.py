"""The tables at the end of a storm, in Markdown, to be pasted into RELIABILITY.md. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

INVARIANTS = [f"I{number}" for number in (*range(1, 10), *range(11, 16), *range(17, 24))]
CALM = "calm"


def faults(results: list[dict[str, Any]]) -> Iterable[str]:
    columns = ("Database", "Phase", "Faults", "Executions", "Steps", "Repeated (explained)")
    columns += ("Steps/s", "Of calm", "Settled in", "Orders", "Coalesced", "Pruned", "Webhooks", "Violations")
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    calm = {row["database"]: row["steps_per_second"] for row in results if row["name"] == CALM}
    for row in results:
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(row["faults"].items())) or "none"
        ratio = row["steps_per_second"] / calm[row["database"]]
        yield (
            f"| {row['database']} | {row['name']} | {told} | {row['executions']:,} | {row['steps']:,} | "
            f"{row['repeated']} ({row['may_repeat']}) | {row['steps_per_second']:.0f} | {ratio:.0%} | "
            f"{row['settled_seconds']:.1f} s | {row['orders']} | {row['coalesced']} | {row['pruned']:,} | "
            f"{row['webhooks']} | {len(row['violations'])} |"
        )


def sums(results: list[dict[str, Any]]) -> Iterable[str]:
    """Faults of each kind, over all phases."""
    total: Counter[str] = Counter()
    for row in results:
        total.update(row["faults"])
    yield "faults: " + (", ".join(f"{count:,} {name}" for name, count in sorted(total.items())) or "none")


def invariants(results: list[dict[str, Any]]) -> Iterable[str]:
    """How often each was violated."""
    told = Counter(text.split(" ", 1)[0] for row in results for text in row["violations"])
    checked = sum(row["executions"] for row in results)
    yield "violations: " + ", ".join(f"{number} {told[number]}" for number in INVARIANTS)
    yield f"in {checked:,} executions, {sum(row['steps'] for row in results):,} steps"
