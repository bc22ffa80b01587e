"""Fenced blocks of a Markdown page, with what the page says about them in HTML comments.

``<!-- setup: ... -->`` is Python that readers do not need to see; it runs in its place among the blocks.
``<!-- not run: reason -->`` right before a block keeps it from being run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_PIECES = re.compile(
    r"^<!-- setup:(?P<setup>.*?)-->$"
    r"|^<!-- not run:(?P<reason>.*?)-->$"
    r"|^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Block:
    """One fenced block, or one hidden setup."""

    language: str
    code: str
    line: int  # of its first line of code, from 1
    skipped_because: str = ""


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    reason, reason_ends = "", -1
    for piece in _PIECES.finditer(text):
        if piece["reason"] is not None:
            reason, reason_ends = piece["reason"].strip(), piece.end()
            continue
        is_skipped = reason_ends >= 0 and not text[reason_ends : piece.start()].strip()
        group = "setup" if piece["setup"] is not None else "code"
        line = text.count("\n", 0, piece.start(group)) + 1
        language = "python" if group == "setup" else piece["language"]
        found.append(Block(language, piece[group].lstrip(" "), line, reason if is_skipped else ""))
    return found
