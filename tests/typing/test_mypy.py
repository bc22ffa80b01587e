"""What mypy makes of ``sample.py`` under this project's own settings."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = Path(__file__).with_name("sample.py")
EXPECTED = re.compile(r"\s+# (?:-> (?P<type>.+)|error: (?P<code>[a-z-]+))$")
TOLD = re.compile(r"sample\.py:(?P<line>\d+): (?P<level>note|error): (?P<text>.*?)(?:  \[(?P<code>[a-z-]+)\])?$")
REVEALED = re.compile(r'Revealed type is "(?P<type>.*)"')
MODULES = re.compile(r"\b(?:[a-z_0-9]+\.)+(?=\w)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("mypy") and find_spec("mypy_django_plugin")),
        reason="mypy and django-stubs come with the extra `dev`, not with `test`",
    ),
]


def expectations():
    """What the comments of the sample say, by line."""
    found = {}
    for number, line in enumerate(SAMPLE.read_text().splitlines(), start=1):
        comment = EXPECTED.search(line)
        if comment:
            found[number] = f"is {comment['type']}" if comment["type"] else f"error {comment['code']}"
    return found


@pytest.fixture(scope="module")
def told():
    """What mypy says, by line, in the words of the comments."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", str(SAMPLE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {}
    for line in done.stdout.splitlines():
        match = TOLD.search(line)
        assert match, done.stdout
        revealed = REVEALED.search(match["text"])
        if revealed:
            found[int(match["line"])] = "is " + MODULES.sub("", revealed["type"])
        elif match["level"] == "error":
            found[int(match["line"])] = f"error {match['code']}"
    return found


@pytest.mark.parametrize(
    "line", expectations(), ids=lambda line: SAMPLE.read_text().splitlines()[line - 1].strip()[:60]
)
def test_a_line_is_understood_as_its_comment_says(told, line):
    assert told.get(line) == expectations()[line]


def test_nothing_else_is_refused(told):
    assert {line: text for line, text in told.items() if line not in expectations()} == {}
