"""``python -m benchmarks.page FILE ...``: the figures of ``--json`` files in docs/benchmarks.md."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import short

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PLACE = re.compile(r"(?<=<!-- figures -->\n).*(?=<!-- end of figures -->)", re.DOTALL)


def columns_of(runs: list[list[dict[str, Any]]]) -> str:
    """A Markdown table: a line per figure, a column per run, and under it where each was measured."""
    by_name = [{row["name"]: row for row in run} for run in runs]
    names = list(dict.fromkeys(name for run in by_name for name in run))
    lines = ["| | target | " + " | ".join(run[0]["database"] for run in runs) + " |", "|---" * (len(runs) + 2) + "|"]
    for name in names:
        target = next(run[name]["target"] for run in by_name if name in run) or ""
        cells = [_cell(run[name]) if name in run else "" for run in by_name]
        lines.append(f"| {name} | {target} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {run[0]['about']}" for run in runs)]) + "\n"


def _cell(row: dict[str, Any]) -> str:
    """What is judged, bold if the target is reached, its spread, and the value behind a ratio."""
    by_ratio = (row["target"] or "").startswith("ratio")
    judged = short(row["ratio"] if by_ratio else row["value"])
    low, high = map(short, row["spread"])
    parts = [f"**{judged}**" if row["verdict"] == "reached" else judged]
    parts += [f"({low} - {high})"] if low != high else []
    parts += [f"{short(row['value'])} {row['unit']}"] if by_ratio else [row["unit"]]
    return " ".join(filter(None, parts))


def main() -> None:
    runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    if not runs:
        sys.exit(__doc__)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(PLACE.sub(lambda _: columns_of(runs), text), encoding="utf-8")


if __name__ == "__main__":
    main()
