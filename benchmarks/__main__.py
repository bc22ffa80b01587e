"""``python -m benchmarks [--only NAME] [--database postgres|mariadb|sqlite] [--json FILE]``"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def main() -> None:
    options = _options()
    os.environ["DURABLE_TEST_DATABASE"] = options.database
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()

    from benchmarks import database
    from benchmarks.measures import MEASURES

    database.create()
    figures = [MEASURES[name]() for name in options.only or MEASURES]
    print(f"{options.database}, Django {django.get_version()}")
    print(f"{'':12}{'measured':>12}{'floor':>12}{'ratio':>8}")
    for figure in figures:
        print(f"{figure.name:12}{figure.value:12.0f}{figure.floor:12.0f}{figure.ratio:8.2f}  {figure.unit}")
    if options.json:
        rows = [{**vars(figure), "ratio": figure.ratio, "database": options.database} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What durability costs on this machine.")
    parser.add_argument("--only", action="append", choices=["steps", "executions"], help="one benchmark; repeatable")
    parser.add_argument("--database", default="postgres", choices=["postgres", "mariadb", "sqlite"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
