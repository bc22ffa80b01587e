"""The promise of typed workflows, kept by mypy on a file of a user's code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).with_name("authoring.py")
ROOT = EXAMPLE.parents[2]


@pytest.fixture(scope="module")
def said():
    """What mypy says about the example: lines by number."""
    pytest.importorskip("mypy", reason="mypy comes with the extra `dev`")
    options = ["--config-file=", "--strict", "--no-error-summary", "--show-error-codes", "--follow-imports=silent"]
    cache = f"--cache-dir={ROOT / 'var' / 'mypy_of_tests'}"
    # In a process of its own: mypy raises the recursion limit of the one it runs in, for good.
    command = [sys.executable, "-m", "mypy", *options, cache, "--disable-error-code=import-untyped", str(EXAMPLE)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert not told.stderr
    lines = {}
    for line in told.stdout.splitlines():
        found = re.match(r"[^:]*authoring\.py:(\d+): (error|note): (.*)", line)
        if found:
            lines.setdefault(int(found[1]), []).append(found[3])
    return lines


def expected(mark):
    """Lines of the example with such a comment: number and the text after it."""
    for number, line in enumerate(EXAMPLE.read_text().splitlines(), start=1):
        before, _, wanted = line.partition(f"  # {mark}: ")
        if wanted:
            yield pytest.param(number, wanted, id=before.strip())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "wanted"), list(expected("R")))
def test_types_are_inferred(said, number, wanted):
    (revealed,) = (re.search(r'Revealed type is "(.*)"', text)[1] for text in said[number] if "Revealed" in text)
    assert re.sub(r"builtins\.|tests\.typing\.", "", revealed) == wanted
    assert not any("[" in text and text.endswith("]") for text in said[number])  # no error beside it


@pytest.mark.slow
@pytest.mark.parametrize(("number", "wanted"), list(expected("E")))
def test_wrong_arguments_are_errors(said, number, wanted):
    assert any(text.endswith(f"[{wanted}]") for text in said.get(number, [])), said.get(number)


@pytest.mark.slow
def test_nothing_else_is_wrong(said):
    marked = {param.values[0] for mark in "RE" for param in expected(mark)}
    assert {number: texts for number, texts in said.items() if number not in marked} == {}
