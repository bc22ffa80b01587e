"""The tutorial, followed by the letter in an empty directory: its files, its commands, its output."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of

_FILE = re.compile(r"# (?P<path>[\w/]+\.py)(?P<at_end>, at the end)?\n")


def environment() -> dict[str, str]:
    """This interpreter's programs first, and nothing of the test project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DURABLE_", "DJANGO_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT)}


def write(code: str, folder: Path) -> None:
    named = _FILE.match(code)
    assert named, f"A Python block of the tutorial must begin with its file's name:\n{code[:80]}"
    target = folder / named["path"]
    before = target.read_text() if named["at_end"] else ""
    target.write_text(before + "\n" + code)


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", code],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}"
    return done.stdout


def assert_shown(expected: str, output: str) -> None:
    """Every expected line is there, in order; ``...`` stands for anything."""
    patterns = [re.escape(line).replace(re.escape("..."), ".*") for line in expected.strip().splitlines()]
    assert re.search(".*".join(f"^{pattern}$" for pattern in patterns), output, re.DOTALL | re.MULTILINE), output


@pytest.mark.slow
def test_tutorial(tmp_path: Path) -> None:
    output = everything = ""
    for block in blocks_of(ROOT / "docs" / "tutorial.md"):
        if block.skipped_because:
            continue
        if block.language == "python":
            write(block.code, tmp_path)
        elif block.language == "sh":
            output = run(block.code, tmp_path)
            everything += output
        elif block.language == "text":
            assert_shown(block.code, output)
    assert everything.count("charging order 1") == 1  # the replay did not run it again
