"""What cannot be stored is refused with its place and advice, before anything is written."""

import io
import re
import struct
import sys
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy

from django_durable.codec import encode, register, round_trip
from django_durable.exceptions import CodecError, PayloadTooLargeError
from tests.unit.payloads import Line, Order, Word

T = TypeVar("T")


class Unregistered(Enum):
    A = 1


@dataclass
class Plain:
    x: int


class Meta:
    pk = 3
    _meta = None


class Query:
    query = None

    def as_manager(self): ...


@register
@dataclass
class Derived:
    x: int
    y: int = field(init=False, default=0)


@register
@dataclass
class Doubling:
    x: int

    def __post_init__(self):
        self.x *= 2


@register
@dataclass
class OtherConstructor:
    x: int

    def __init__(self):
        self.x = 1


class SubStr(str):
    __slots__ = ()


class LineSubclass(Line):
    pass


def with_attribute():
    order = Order([])
    order.note = "x"
    return order


@register
@dataclass
class Pair(Generic[T]):
    one: T
    other: T


def test_parametrised_generics_carry_no_extra_state():
    assert round_trip(Pair[int](1, 2)) == Pair(1, 2)


def test_what_django_hands_out_is_refused_with_advice():
    for value, advice in ((User(pk=3), "pk"), (User.objects.all(), "list of pks"), (gettext_lazy("x"), "str(value)")):
        with pytest.raises(CodecError, match=re.escape(advice)):
            encode(value)


def test_zone_that_cannot_be_looked_up_again_is_refused():
    counts = struct.pack(">6I", 0, 0, 0, 0, 1, 4)
    tzif = b"TZif" + bytes(16) + counts + bytes(6) + b"UTC\0"
    zone = ZoneInfo.from_file(io.BytesIO(tzif), key="my/zone")
    with pytest.raises(CodecError, match="my/zone"):
        encode(datetime(2024, 1, 1, tzinfo=zone))


@pytest.mark.parametrize(
    ("value", "path", "advice"),
    [
        (float("nan"), "", "None"),
        ({"a": [float("-inf")]}, '["a"][0]', "None"),
        (Decimal("NaN"), "", "None"),
        ([Decimal("Infinity")], "[0]", "None"),
        ({1: 2}, "", "keys must be str"),
        ({"a": {None: 2}}, '["a"]', "keys must be str"),
        ({Word.YES: 1}, "", "keys must be str"),
        ({SubStr("a"): 1}, "", "keys must be str"),
        (10**4300, "", "4300"),
        (-(10**5000), "", "4300"),
        (Meta(), "", "pk"),
        ((Query(),), "[0]", "list of pks"),
        (Unregistered.A, "", "@register_type"),
        (Plain(1), "", "@register_type"),
        (LineSubclass("a", Decimal(1)), "", "@register_type"),
        (SubStr("a"), "", "str(value)"),
        (OrderedDict(a=1), "", "dict(value)"),
        (defaultdict(list), "", "dict(value)"),
        (bytearray(b"a"), "", "bytes(value)"),
        ((n for n in [1]), "", "list"),
        (object(), "", "plain data"),
        (int, "", "plain data"),
        (len, "", "plain data"),
        (1j, "", "plain data"),
        (ValueError("x"), "", "plain data"),
        (Derived(1), "", "init=False"),
        (with_attribute(), "", "note"),
        (Order([Line("a", float("nan"))]), "lines[0].price", "None"),
        (Order([], extra={"x": [object()]}), 'extra["x"][0]', "plain data"),
        (Doubling(1), "", "comes back changed"),
        (OtherConstructor(), "", "not read"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_refused_with_place_and_advice(value, path, advice):
    with pytest.raises(CodecError) as caught:
        encode(value)
    assert caught.value.path == path
    assert advice in str(caught.value)


def test_path_begins_with_the_name_given():
    with pytest.raises(CodecError, match=r'^args\[0\]\.lines\["x"\]: '):
        encode([Order({"x": object()})], path="args")


def nested(levels):
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_limited():
    assert round_trip(nested(100)) == nested(100)
    for levels in (101, 1_000, 100_000):
        with pytest.raises(CodecError, match="100 levels"):
            encode(nested(levels))


def test_deepest_nesting_of_the_wordiest_kind_comes_back():
    value: Any = None
    for _ in range(50):
        value = Order([], extra={"x": value})
    assert round_trip(value) == value


def test_a_value_inside_itself_is_refused():
    loop: list[Any] = [1]
    loop.append({"again": loop})
    with pytest.raises(CodecError, match="contains itself"):
        encode(loop)


def test_the_same_value_twice_is_fine():
    shared = [1]
    assert round_trip([shared, shared]) == [[1], [1]]


def test_little_stack_left_is_a_refusal_and_not_a_crash():
    def deeper(levels):
        return deeper(levels - 1) if levels else encode(nested(100))

    limit = sys.getrecursionlimit()
    with pytest.raises(CodecError):
        deeper(limit - 150)


def test_size_limit_is_exact():
    text = encode("x" * 100)
    assert encode("x" * 100, limit_bytes=len(text)) == text
    with pytest.raises(PayloadTooLargeError) as caught:
        encode("x" * 100, limit_bytes=len(text) - 1)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (len(text), len(text) - 1)


@pytest.mark.parametrize("value", ["\x00" * 50, b"x" * 100, {"k" * 100: 1}, list(range(100))])
def test_size_is_of_the_text(value):
    with pytest.raises(PayloadTooLargeError):
        encode(value, limit_bytes=len(encode(value)) - 1)


def test_a_small_value_that_would_grow_without_end_is_refused_early():
    value: Any = []
    for _ in range(90):
        value = [value, value]
    with pytest.raises(PayloadTooLargeError):
        encode(value, limit_bytes=10_000)
