"""``python -m tests.storm``: see RELIABILITY.md. Exit status 1: an invariant was violated, or work was left."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import django

from tests.storm import plan, report, servers

ROOT = Path(__file__).resolve().parent.parent.parent
FORMS = {"short": ["postgres", "sqlite"], "full": ["postgres"], "long": ["postgres", "mariadb", "sqlite"]}
LONG_SHARES = {"postgres": 0.55, "mariadb": 0.35, "sqlite": 0.10}
LONG_MINUTES = 60.0


def main() -> int:
    chosen = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if chosen.results is not None:
        return _one(chosen)
    databases = chosen.database or FORMS[chosen.form]
    servers.require(*databases, "redis")
    print(f"storm: seed {chosen.seed}, {chosen.form} form, {', '.join(databases)}", flush=True)
    results: list[dict[str, object]] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="durable-storm-") as folder:
        for database in databases:
            path = Path(folder) / f"{database}.json"
            failed |= _in_child(chosen, database, path) != 0
            results += json.loads(path.read_text()) if path.exists() else []
    for lines in () if chosen.restart else (report.faults(results), report.sums(results), report.invariants(results)):
        print("\n".join(["", *lines]))
    print(f"\nstorm: seed {chosen.seed}: {'FAILED' if failed else 'passed'}")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", dest="form", action="store_const", const="short", help="mixed only, for CI")
    form.add_argument("--long", dest="form", action="store_const", const="long", help="every kind, for --minutes")
    parser.add_argument("--minutes", type=float, default=LONG_MINUTES, help="of the long form, all databases together")
    parser.add_argument("--database", action="append", choices=list(servers.DATABASES), help="may be repeated")
    parser.add_argument("--kind", action="append", choices=plan.KINDS, help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, help="of each phase, instead of the form's")
    parser.add_argument("--restart", action="store_true", help="instead, measure how soon a restart is got over")
    parser.add_argument("--keep", action="store_true", help="keep the logs and the ledgers")
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(form="full")
    return parser.parse_args()


def _in_child(chosen: argparse.Namespace, database: str, path: Path) -> int:
    """A process for each database: Django knows one at a time."""
    arguments = [*sys.argv[1:], "--seed", str(chosen.seed), "--database", database, "--results", str(path)]
    child = subprocess.Popen([sys.executable, "-m", "tests.storm", *arguments], cwd=ROOT)
    try:
        return child.wait()
    finally:
        child.terminate()
        child.wait()


def _one(chosen: argparse.Namespace) -> int:
    """All phases on the database that was named last."""
    database = chosen.database[-1]
    folder = Path(tempfile.mkdtemp(prefix=f"durable-storm-{database}-"))
    folder.chmod(0o755)  # servers run as users of their own
    began = time.monotonic()
    broker = servers.Redis(folder)
    server = None
    try:
        server = servers.DATABASES[database](folder)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.storm.settings",
            "STORM_DATABASE": database,
            "STORM_FOLDER": str(folder),
            "STORM_DIRECT_PORT": str(server.port),
            "STORM_BROKER": broker.url,
        }
        django.setup()
        from tests.storm import campaign  # needs the settings, and they the ports

        ground = campaign.Ground(database, folder, server, broker, chosen.seed)
        if chosen.restart:
            return int(not campaign.measure_restarts(ground))
        results = campaign.run(ground, _seconds(chosen, database))
        campaign.save(results, chosen.results)
        print(f"{database}: {time.monotonic() - began:.0f} s", flush=True)
        return int(any(result.violations for result in results))
    finally:
        if server is not None:
            server.stop()
        broker.stop()
        if chosen.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _seconds(chosen: argparse.Namespace, database: str) -> dict[str, float]:
    """How long each kind goes on: the form's kinds and times, unless the arguments say otherwise."""
    if chosen.form == "long":
        seconds = plan.long(chosen.minutes * LONG_SHARES[database], database=database)
    else:
        seconds = plan.SHORT if chosen.form == "short" and not chosen.kind else plan.FULL
    kinds = [kind for kind in plan.possible(database) if kind in (chosen.kind or seconds)]
    return {kind: chosen.seconds or seconds[kind] for kind in kinds}


if __name__ == "__main__":
    raise SystemExit(main())
