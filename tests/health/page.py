"""``python -m tests.health.page`` writes the table of findings into docs/health.md."""

import os
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "health.md"
BEGIN, END = "<!-- findings -->\n", "<!-- end of findings -->"


def table() -> str:
    """Every kind of finding there is, in the order of the report."""
    from django_durable.health import KINDS

    lines = ["| Finding | Asks | Warning | Critical | What to do |", "|---|---|---|---|---|"]
    for kind in KINDS.values():
        cells = (f"`{kind.code}`", kind.asks, kind.warning or "never", kind.critical or "never", kind.fix)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def parts() -> tuple[str, str, str]:
    """The page before the table, the table, and what follows."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    return before, shown, after


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    before, _, after = parts()
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")
