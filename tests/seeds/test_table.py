"""README.md beside this file: every number has its row, every row its test or its reason, every test its row."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = {"B": "test_runner_bugs.py", "C": "test_durably_bugs.py", "D": "test_strav_bugs.py"}
LAST = {"B": 31, "C": 22, "D": 17}
NUMBERS = [f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)]


def _table() -> list[tuple[str, str, str]]:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([BCD]\d+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)


def _named_in(cell: str) -> list[str]:
    return re.findall(r"`(test_\w+)`", cell)


def _tests_of(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"}


def test_every_number_has_one_row_in_order() -> None:
    assert [number for number, _, _ in _table()] == NUMBERS


@pytest.mark.parametrize("row", _table(), ids=lambda row: row[0])
def test_a_row_names_its_tests_or_a_reason(row: tuple[str, str, str]) -> None:
    number, _, here = row
    named = _named_in(here)
    assert named or here.startswith(("not yet: ", "not applicable: "))
    for name in named:
        assert name.startswith(f"test_{number[0].lower()}{int(number[1:]):02}_")
        assert name in _tests_of(FILES[number[0]])


@pytest.mark.parametrize("letter", FILES)
def test_every_test_has_its_row_and_says_what_went_wrong(letter: str) -> None:
    in_rows = [name for number, _, here in _table() if number[0] == letter for name in _named_in(here)]
    found = _tests_of(FILES[letter])
    assert sorted(in_rows) == sorted(found)
    for name, node in found.items():
        told = ast.get_docstring(node)
        assert told and "\n" not in told, name
