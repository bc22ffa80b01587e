"""``python -m tests.generated``: any number of programs. Exit status 1: one did what the model does not know."""

from __future__ import annotations

import argparse
import logging
import os
import random
import time

import django


def main() -> int:
    """Print every finding, shrunk; return the exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django.test.utils import override_settings, setup_databases, setup_test_environment, teardown_databases

    from tests.generated import driver
    from tests.ledger_app.relaxed import commits_without_disk

    chosen = _arguments()
    logging.getLogger("django_durable").setLevel(logging.CRITICAL)
    setup_test_environment()
    began, findings = time.monotonic(), 0
    print(f"generated: {chosen.programs} programs from seed {chosen.seed}", flush=True)
    with override_settings(DURABLE=driver.SETTINGS), commits_without_disk():
        databases = setup_databases(verbosity=0, interactive=False)
        for seeds in driver.batches(range(chosen.seed, chosen.seed + chosen.programs)):
            for finding in driver.play(seeds):
                findings += 1
                print(driver.shrunk(finding) if chosen.shrink else finding, flush=True)
        teardown_databases(databases, verbosity=0)
    print(f"generated: {chosen.programs} programs, {findings} findings, {time.monotonic() - began:.0f} s")
    return int(findings > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.generated", description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="print failing programs as drawn")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
