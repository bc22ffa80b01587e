"""``python -m benchmarks [--only NAME] [--database postgres|mariadb|sqlite] [--json FILE] [--full | --quick]``"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Django is set up after the options are known
    from benchmarks.figures import Figure
    from benchmarks.sizes import Size

NAMES = (
    "steps",
    "executions",
    "starts",
    "batch",
    "wal",
    "idle",
    "signal",
    "sleep",
    "replay",
    "scale",
    "find",
    "fire",
    "memory",
    "prune",
)


def main() -> int:
    options = _options()
    os.environ["DURABLE_TEST_DATABASE"] = options.database
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    os.environ["DURABLE_BENCH_QUEUE"] = f"durable-benchmarks-{os.getpid()}"  # nobody else's worker takes its messages
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # `timeout` and CI: the worker is stopped first
    import django

    django.setup()

    from benchmarks import database, sizes
    from benchmarks.figures import table

    size = sizes.FULL if options.full else sizes.QUICK if options.quick else sizes.NORMAL
    database.create(flush_ms=options.flush_ms)
    figures = _measure(options.only or NAMES, size)
    about = f"{options.database}, Python {platform.python_version()}, Django {django.get_version()}, "
    about += f"{os.cpu_count()} cores"
    if options.flush_ms:
        about += f", {options.flush_ms:g} ms added to every flush"
    print(f"{about}\n{table(figures)}")
    if options.json:
        rows = [{**figure.as_dict(), "database": options.database, "about": about} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    if options.wal_breakdown:
        _print_records(size)
    return int(options.strict and any(figure.verdict == "missed" for figure in figures))


def _measure(wanted: Sequence[str], size: Size) -> list[Figure]:
    """All figures, in the order of NAMES; those that need a worker share one."""
    from benchmarks import workers
    from benchmarks.measures import ALONE, WITH_WORKER

    found = {}
    for name in ALONE:
        if name in wanted:
            _say(name)
            found[name] = ALONE[name](size)
    if set(wanted) & set(WITH_WORKER):
        _say("the worker")
        with workers.running() as worker:
            for name in WITH_WORKER:
                if name in wanted:
                    _say(name)
                    found[name] = WITH_WORKER[name](size, worker)
    return [figure for name in NAMES for figure in found.get(name, [])]


def _say(name: str) -> None:
    print(f"... {name}", file=sys.stderr, flush=True)


def _print_records(size: Size) -> None:
    from benchmarks.measures.log import postgres_records

    print(f"\n{'WAL records per execution':64}{'records':>9}{'bytes':>9}{'page images':>13}")
    for kind, count, written, images in postgres_records(size):
        print(f"{kind:64}{count / size.logged:9.2f}{written / size.logged:9.0f}{images / size.logged:13.0f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What durability costs on this machine.")
    parser.add_argument("--only", action="append", choices=NAMES, help="one benchmark; repeatable")
    parser.add_argument("--database", default="postgres", choices=["postgres", "mariadb", "sqlite"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true", help="a million rows, 100,000 executions: an hour")
    extent.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument("--wal-breakdown", action="store_true", help="PostgreSQL: which records an execution writes")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--flush-ms", type=float, default=0.0, help="PostgreSQL: as on a disk so much slower")
    options = parser.parse_args()
    if options.flush_ms and options.database != "postgres":
        parser.error("--flush-ms needs --database postgres")
    if options.wal_breakdown and options.database != "postgres":
        parser.error("--wal-breakdown needs --database postgres")
    return options


if __name__ == "__main__":
    sys.exit(main())
