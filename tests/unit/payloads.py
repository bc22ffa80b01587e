"""Payload classes of the kinds users register, exact comparison, and hypothesis strategies for values."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from hypothesis import strategies as st

from django_durable.codec import register


@register
class Colour(Enum):
    RED = "red"
    GREEN = "green"
    ROUGE = "red"


@register
class Level(IntEnum):
    LOW = 1


@register
class Word(StrEnum):
    YES = "yes"


@register
class Access(Flag):
    READ = 1
    WRITE = 2


@register
class Point(NamedTuple):
    x: int
    y: int = 0


@register
@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@register(name="orders.Order")
@dataclass
class Order:
    lines: list[Line]
    when: datetime | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def total(self):
        return sum(line.price for line in self.lines)


def same(left, right):
    """Equal, and of equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, set | frozenset):
        return {(type(item), item) for item in left} == {(type(item), item) for item in right}
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, datetime | time):
        return left == right and left.fold == right.fold and (left.tzinfo is None) == (right.tzinfo is None)
    return left == right


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary(max_size=40)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.datetimes()
    | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]))
    | st.times()
    | st.sampled_from([Colour.RED, Level.LOW, Word.YES, Access.READ, Point(1, 2), Line("a", Decimal(1))])
)
keys = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["$", "$dict", "$tuple", "$object", "$enum", "$str"]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(scalars, max_size=4)
        | st.frozensets(scalars, max_size=4)
        | st.builds(lambda extra: Order([], extra={"it": extra}), inner)
    ),
    max_leaves=12,
)
