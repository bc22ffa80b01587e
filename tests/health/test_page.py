"""docs/health.md shows every kind of finding as the code has it."""

from tests.health.page import parts, table


def test_the_table_of_findings_is_that_of_the_code():
    _, shown, _ = parts()
    assert shown == table(), "run `python -m tests.health.page`"
