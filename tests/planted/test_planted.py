"""Planted bugs must not rot: each still fits the code, and names tests that are there."""

import builtins
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planted.bugs import BUGS, GENERAL, STORY, Edit
from tests.planted.tree import ROOT, Moved, plant

NAMED = sorted({STORY, *GENERAL, *(test for bug in BUGS for test in bug.tests)})


def unknown(table: symtable.SymbolTable, known: set[str]) -> Iterator[str]:
    """Global names that nothing defines: a NameError would look like a caught bug."""
    yield from (name.get_name() for name in table.get_symbols() if name.is_global() and name.get_name() not in known)
    for child in table.get_children():
        yield from unknown(child, known)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_bug_fits_the_code_and_is_code(bug):
    for edit in bug.edits:
        module = symtable.symtable(plant(edit, ROOT), edit.file, "exec")
        assert list(unknown(module, {*module.get_identifiers(), *vars(builtins), "__name__"})) == []


@pytest.mark.parametrize("test", NAMED)
def test_each_named_test_is_there(test):
    file, _, name = test.partition("::")
    function = name.partition("[")[0]
    assert f"def {function}(" in (ROOT / file).read_text() if function else (ROOT / file).is_file()


def test_each_bug_has_a_name_and_a_test_of_its_own():
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert all(bug.tests and bug.edits for bug in BUGS)


@pytest.mark.parametrize("text", ["", "x = 1\nx = 1\n"], ids=["gone", "twice"])
def test_code_that_has_moved_is_said(tmp_path: Path, text: str):
    (tmp_path / "code.py").write_text(text)
    with pytest.raises(Moved, match="plant it anew"):
        plant(Edit("code.py", "x = 1", "x = 2"), tmp_path)
