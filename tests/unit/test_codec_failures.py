"""Recorded errors: everything can be recorded, and only what is declared is ever made again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_durable.codec import decode_error, encode, encode_error, rebuild_error
from django_durable.exceptions import CodecError, RetryAfter, StepFailed


class CardDeclined(Exception):
    def __init__(self, code):
        super().__init__(f"declined with {code}")
        self.code = code


class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__()
        self.code = code

    def __str__(self):
        return f"code {self.code}"


class Base(Exception):
    pass


class Middle(Base):
    pass


class Leaf(Middle):
    def __init__(self, one, two):
        super().__init__(one, two)
        self.two = two


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")


class SlotState(Exception):
    def __init__(self, thing):
        super().__init__("slot")
        self.thing = thing

    def __str__(self):
        return f"slot {self.thing.name}"


def record(error, **options):
    return decode_error(encode_error(error, **options))


def again(error, *declared):
    return rebuild_error(record(error), declared or (type(error),))


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("a", 1, (2,)),
        KeyError("k"),
        CardDeclined(51),
        KeywordOnly(code=7),
        OSError(2, "gone"),
        OSError("plain"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        StopIteration(3),
        Leaf(1, 2),
        RetryAfter(5, "busy"),
        StepFailed("charge", "x.Y", "no"),
    ],
    ids=repr,
)
def test_declared_error_comes_back_as_it_was(error):
    back = again(error)
    assert type(back) is type(error)
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_notes_come_back():
    error = ValueError("a")
    error.add_note("more")
    assert again(error).__notes__ == ["more"]


def test_type_is_recorded_with_its_module():
    recorded = record(CardDeclined(51))
    assert recorded.type_name == f"{__name__}.CardDeclined"
    assert recorded.bases == ("builtins.Exception", "builtins.BaseException")
    assert recorded.state == {"code": 51}


def test_undeclared_error_is_not_rebuilt():
    assert again(CardDeclined(51), KeyError, OSError) is None
    assert again(CardDeclined(51), KeyError, OSError) is None


def test_subclass_comes_back_as_the_nearest_declared_base():
    back = again(Leaf(1, 2), Exception, Base, Middle)
    assert type(back) is Middle
    assert (back.args, back.two) == ((1, 2), 2)


def test_nothing_named_in_the_text_is_run():
    text = encode_error(ValueError("x")).replace("builtins.ValueError", "os.system")
    assert rebuild_error(decode_error(text), (OSError,)) is None


def test_args_that_cannot_be_stored_leave_the_message():
    recorded = record(ValueError("a", object()))
    assert recorded.args is None
    assert rebuild_error(recorded, (ValueError,)).args == (recorded.message,)


def test_error_that_cannot_be_made_again_is_not_half_made():
    class Thing:
        name = "x"

    recorded = record(SlotState(Thing()))
    assert recorded.message == "slot x"
    assert recorded.state is None
    assert rebuild_error(recorded, (SlotState,)) is None


def test_huge_args_are_not_kept():
    recorded = record(ValueError("x" * 1_000_000))
    assert recorded.args is None
    assert len(recorded.message) == 10_000


def test_group_is_recorded_and_not_rebuilt():
    group = ExceptionGroup("several", [ValueError("a")])
    assert record(group).type_name == "builtins.ExceptionGroup"
    assert again(group) is None


def test_unprintable_error_is_recorded():
    assert "Unprintable" in record(Unprintable()).message


def test_traceback_is_of_the_error_and_keeps_its_end():
    try:
        raise ValueError("boom")
    except ValueError as error:
        assert "in test_traceback_is_of_the_error" in record(error).traceback_text
    long = record(ValueError(), traceback_text="a" * 50_000 + "end").traceback_text
    assert len(long) == 20_000
    assert long.endswith("end")


def test_control_characters_are_kept():
    assert record(ValueError("a\x00\x1b[0m\ud800")).message == "a\x00\x1b[0m\ud800"


def test_every_reading_is_fresh():
    text = encode_error(ValueError([1]))
    decode_error(text).args[0].append(2)
    assert decode_error(text).args == ([1],)


@pytest.mark.parametrize("value", [None, [], {}, {"type": 1}, "x", 3])
def test_other_text_is_a_codec_error(value):
    with pytest.raises(CodecError):
        decode_error(encode(value))


@given(st.text(st.characters(exclude_categories=())), st.text(max_size=50))
def test_any_message_and_traceback(message, traceback_text):
    recorded = record(ValueError(message), traceback_text=traceback_text)
    assert (recorded.message, recorded.traceback_text) == (message[:10_000], traceback_text)
