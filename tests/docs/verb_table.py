"""The table of verbs and statuses in docs/operating: ``python -m tests.docs.verb_table`` writes it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import django

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating" / "README.md"
_PLACE = re.compile(r"(<!-- verbs -->\n).*?(<!-- /verbs -->)", re.DOTALL)


def table() -> str:
    """One row for each verb, one column for each stored status and one for a worker on it."""
    from django_durable import client
    from django_durable.models.execution import STORED, Status

    statuses = [status for status in Status if status in STORED]
    lines = [
        f"| Verb | {' | '.join(str(status) for status in statuses)} | a worker on it |",
        f"|---|{'---|' * (len(statuses) + 1)}",
    ]
    for verb in client.verbs():
        condition = " (1)" if verb.only_if else ""
        cells = [f"yes{condition}" if status in verb.accepts else "" for status in statuses]
        lines.append(f"| `{verb.name}` | {' | '.join(cells)} | {'yes' if verb.while_running else ''} |")
    conditions = [f"`{verb.name}`: if {verb.only_if}" for verb in client.verbs() if verb.only_if]
    lines += ["", f"(1) {'; '.join(conditions)}."]
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The page with today's table."""
    return _PLACE.sub(lambda place: place[1] + table() + place[2], text)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    PAGE.write_text(written(PAGE.read_text()))
