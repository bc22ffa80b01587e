"""The promise of typed workflows, kept by mypy and by pyright on a file of a user's code."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).with_name("authoring.py")
ROOT = EXAMPLE.parents[2]
CHECKERS = ["mypy", "pyright"]


@dataclass
class Said:
    """What a type checker says about the example, by line."""

    revealed: dict[int, str] = field(default_factory=dict)
    errors: dict[int, list[str]] = field(default_factory=dict)

    def reveal(self, line, text):
        self.revealed[line] = plain(text)

    def complain(self, line, code):
        self.errors.setdefault(line, []).append(code)


def plain(text):
    """A type as pyright writes it: without modules, and without "def" for a function."""
    return re.sub(r"\w+\.|\bdef ", "", text)


def run(module, *arguments):
    # In a process of its own: mypy raises the recursion limit of the one it runs in, for good.
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert not done.stderr
    return done.stdout


def asked_mypy():
    pytest.importorskip("mypy", reason="mypy comes with the extra `dev`")
    options = ["--config-file=", "--strict", "--no-error-summary", "--show-error-codes", "--follow-imports=silent"]
    cache = f"--cache-dir={ROOT / 'var' / 'mypy_of_tests'}"
    said = Said()
    for line in run("mypy", *options, cache, "--disable-error-code=import-untyped", str(EXAMPLE)).splitlines():
        found = re.match(r"[^:]*authoring\.py:(\d+): (error|note): (.*)", line)
        if not found:
            continue
        number, text = int(found[1]), found[3]
        if revealed := re.search(r'Revealed type is "(.*)"', text):
            said.reveal(number, revealed[1])
        if code := re.search(r"\[([a-z-]+)\]$", text):
            said.complain(number, code[1])
    return said


def asked_pyright():
    pytest.importorskip("basedpyright", reason="basedpyright, which is pyright, comes with the extra `dev`")
    config = EXAMPLE.with_name("pyrightconfig.json")  # strict: what is unknown in a type of ours shows too
    told = run("basedpyright", "--project", str(config), "--pythonpath", sys.executable, "--outputjson")
    said = Said()
    for finding in json.loads(told)["generalDiagnostics"]:
        number, message = finding["range"]["start"]["line"] + 1, finding["message"]
        if revealed := re.fullmatch(r'Type of ".*" is "(.*)"', message, re.DOTALL):
            said.reveal(number, revealed[1])
        else:
            said.complain(number, finding.get("rule", message))
    return said


@pytest.fixture(scope="module", params=CHECKERS)
def checker(request):
    """Both checkers, each asked once. A line's ``E`` is mypy's code; to pyright it is any error."""
    said = {"mypy": asked_mypy, "pyright": asked_pyright}[request.param]()
    assert said.revealed
    return request.param, said


def expected(mark):
    """Lines of the example with such a comment: number and the text after it."""
    for number, line in enumerate(EXAMPLE.read_text().splitlines(), start=1):
        before, _, wanted = line.partition(f"  # {mark}: ")
        if wanted:
            yield pytest.param(number, wanted, id=before.strip())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "wanted"), list(expected("R")))
def test_types_are_inferred(checker, number, wanted):
    _, said = checker
    assert said.revealed.get(number) == plain(wanted)
    assert number not in said.errors


@pytest.mark.slow
@pytest.mark.parametrize(("number", "wanted"), list(expected("E")))
def test_wrong_arguments_are_errors(checker, number, wanted):
    name, said = checker
    found = said.errors.get(number)
    assert found
    assert name == "pyright" or wanted in found


@pytest.mark.slow
def test_nothing_else_is_wrong(checker):
    _, said = checker
    marked = {param.values[0] for mark in "RE" for param in expected(mark)}
    assert {number: codes for number, codes in said.errors.items() if number not in marked} == {}
