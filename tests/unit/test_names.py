"""Names that may be stored: what is accepted, what is refused and how the refusal reads."""

import pytest

from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_key, check_name, check_step_id

ODD_NAMES = ["", "a b", "a\n", "a\x00", "ä", "a/b", "a%", "<script>", "\N{SNOWMAN}", "x" * 201, None, 3, b"a", ["a"]]


@pytest.mark.parametrize("name", ["a", "shop.orders:fulfil-2_x", "9", "x" * 200])
def test_plain_names_are_handed_back(name):
    assert check_name(name, "Queue") == name


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
def test_odd_names_are_refused_with_what_is_allowed(name):
    with pytest.raises(InvalidOptionError, match=r"Queue .* 1 to 200 characters of letters, digits"):
        check_name(name, "Queue")


@pytest.mark.parametrize("step_id", ["__init", "__", "rollback:charge"])
def test_step_ids_of_the_engine_are_reserved(step_id):
    with pytest.raises(InvalidOptionError, match="reserved"):
        check_step_id(step_id)


@pytest.mark.parametrize("step_id", ["charge#2", "<lambda>", "a b"])
def test_step_ids_with_odd_characters_are_refused(step_id):
    with pytest.raises(InvalidOptionError, match="Step id"):
        check_step_id(step_id)


def test_a_step_id_may_contain_what_it_may_not_begin_with():
    assert check_step_id("undo.rollback:x__") == "undo.rollback:x__"


@pytest.mark.parametrize("key", ["order:7", "Bestellung Nº 7: größer", "x" * 200])
def test_keys_are_any_printable_text(key):
    assert check_key(key, "key") == key


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\x00", "\ud800", 7, None, b"k"], ids=repr)
def test_keys_that_cannot_be_shown_are_refused(key):
    with pytest.raises(InvalidOptionError, match=r"key=.* 1 to 200 printable characters"):
        check_key(key, "key")
