"""The table of verbs and statuses is the code's."""

from tests.docs.verb_table import PAGE, written


def test_the_page_has_the_table_of_today():
    text = PAGE.read_text()
    assert "<!-- verbs -->" in text
    assert written(text) == text, "run: python -m tests.docs.verb_table"
