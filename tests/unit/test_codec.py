"""Values come back equal and of the same type; texts are canonical."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_durable.codec import decode, encode, fingerprint, round_trip
from tests.unit.payloads import (
    Access,
    Colour,
    Level,
    Line,
    Order,
    Point,
    Word,
    keys,
    same,
    values,
)

TABLE = [
    None,
    True,
    0,
    -(10**4299),
    1.0,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    "",
    "nul \x00 and lone \ud800 surrogate",
    "\ud83d\ude00 as two code points",
    "\U0001f600",
    [],
    (),
    {},
    set(),
    frozenset(),
    {"$": 1},
    {"$tuple": [1]},
    {"$dict": {"$dict": 1}},
    {"$a": 1, "$b": 2},
    {"\ud83d\ude00": 1, "b": 2, "$c": 3},
    {"z": 1, "a": 2},
    [1, True, 1.0, "1"],
    (1, [2, (3,)]),
    {1, 2.5, "a", (1, frozenset({2}))},
    datetime(2024, 1, 2, 3, 4, 5, 678901),
    datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=3, seconds=7, microseconds=9))),
    datetime(2024, 10, 27, 2, 30, fold=1),
    datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    date(2024, 2, 29),
    time(1, 2, 3, 4),
    time(1, 2, fold=1),
    time(1, 2, tzinfo=UTC),
    time(1, 2, tzinfo=ZoneInfo("Asia/Tokyo")),
    timedelta.min,
    timedelta.max,
    timedelta(microseconds=-1),
    Decimal("-0"),
    Decimal("1.50"),
    Decimal("1E+999"),
    Decimal("0E-30"),
    Decimal("3." + "1" * 60),
    UUID(int=7),
    b"",
    bytes(range(256)),
    Colour.GREEN,
    Colour.ROUGE,
    Level.LOW,
    Word.YES,
    Access.READ | Access.WRITE,
    Access(0),
    Point(1),
    Line("a", Decimal("1.10"), Colour.GREEN),
    Order([Line("a", Decimal(1))], datetime(2024, 1, 1, tzinfo=UTC), {"t": (1,)}),
    {"nested": [{Line("a", Decimal(1)), Line("b", Decimal(2))}]},
]


@pytest.mark.parametrize("value", TABLE, ids=lambda value: type(value).__name__)
def test_value_comes_back_equal_and_of_the_same_type(value):
    text = encode(value)
    assert text.isascii()
    assert same(decode(text), value)
    assert encode(decode(text)) == text


@given(values)
def test_any_value_comes_back(value):
    text = encode(value)
    assert text.isascii()
    assert same(decode(text), value)
    assert encode(decode(text)) == text


@given(st.datetimes(timezones=st.timezones()))
def test_zone_is_kept(moment):
    back = round_trip(moment)
    assert back.replace(tzinfo=None) == moment.replace(tzinfo=None)
    assert (back.tzinfo.key, back.fold, back.utcoffset()) == (
        moment.tzinfo.key,
        moment.fold,
        moment.utcoffset(),
    )


def test_when_the_rules_of_a_zone_change_the_instant_stays():
    written = '[1,{"$datetime":["2030-07-01T12:00:00+01:00",0,"Europe/Berlin"]}]'
    assert decode(written) == datetime(2030, 7, 1, 11, tzinfo=UTC)
    assert decode(written).tzinfo is ZoneInfo("Europe/Berlin")


def test_other_time_zones_keep_their_offset():
    class Odd(tzinfo):
        def utcoffset(self, when):
            return timedelta(minutes=17)

        def dst(self, when):
            return None

    assert round_trip(datetime(2024, 1, 1, tzinfo=Odd())) == datetime(2024, 1, 1, tzinfo=Odd())


def test_text_is_compact_and_keeps_the_order_of_keys():
    assert encode({"b": 1, "a": (2, None)}) == '[1,{"b":1,"a":{"$tuple":[2,null]}}]'


def test_every_decode_gives_fresh_objects():
    text = encode({"a": [1]})
    decode(text)["a"].append(2)
    assert decode(text) == {"a": [1]}


def test_text_does_not_depend_on_the_hash_seed():
    script = "from django_durable.codec import encode; print(encode({'a', 'b', 'c', 'dd', ('e', 'f')}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


def test_a_full_cache_is_not_state():
    order = Order([Line("a", Decimal(2))])
    assert order.total == 2
    assert round_trip(order) == order


def test_fingerprint_ignores_the_order_of_keys_only():
    one, two = {"a": 1, "b": {"c": [1, 2], "d": 2}}, {"b": {"d": 2, "c": [1, 2]}, "a": 1}
    assert fingerprint(encode(one)) == fingerprint(encode(two))
    assert len(fingerprint(encode(one))) == 64
    different = [[1, 2], [2, 1], (1, 2), [1, 2.0], [1, "2"], {"a": 1}, {"$a": 1}, {"$dict": 1}]
    assert len({fingerprint(encode(value)) for value in different}) == len(different)


def test_fingerprint_ignores_the_order_of_escaped_keys():
    pair = "\ud83d\ude00"
    assert fingerprint(encode({pair: 1, "b": 2})) == fingerprint(encode({"b": 2, pair: 1}))


@given(st.dictionaries(keys, values, max_size=5), st.randoms())
def test_fingerprint_of_shuffled_keys(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert fingerprint(encode(value)) == fingerprint(encode(dict(items)))
