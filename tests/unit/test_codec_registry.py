"""Which classes may be registered, under which names, and what annotations register."""

import sys
import typing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, NamedTuple, Optional, TypeVar

import pytest

from django_durable.codec import decode, encode, register, register_annotations, round_trip
from django_durable.exceptions import CodecError, InvalidOptionError
from tests.unit.payloads import Line, Order, Point, same


def test_name_is_module_and_qualified_name_unless_given():
    assert '"tests.unit.payloads.Line"' in encode(Line("a", Decimal(1)))
    assert '"orders.Order"' in encode(Order([]))


def test_register_gives_the_class_back():
    assert register(Line) is Line
    assert register(name="tests.line")(Line) is Line
    register(Line)


def test_a_class_may_change_its_name_and_old_text_is_still_read():
    old = encode(Point(1, 2))
    register(Point, "tests.point")
    try:
        assert '"tests.point"' in encode(Point(1, 2))
        assert decode(old) == decode(encode(Point(1, 2))) == Point(1, 2)
    finally:
        register(Point)


def test_a_name_belongs_to_one_class():
    with pytest.raises(InvalidOptionError, match=r"orders\.Order"):
        register(Line, "orders.Order")


def test_a_class_of_a_module_imported_again_takes_its_place():
    fresh = dataclass(type("Twin", (), {"__annotations__": {"x": int}, "__module__": __name__}))
    again = dataclass(type("Twin", (), {"__annotations__": {"x": int}, "__module__": __name__}))
    register(fresh)
    text = encode(fresh(1))
    register(again)
    assert type(decode(text)) is again


@dataclass
class ListAndDataclass(list):
    x: int = 1


def local_class():
    @dataclass
    class Local:
        x: int

    return Local


@pytest.mark.parametrize("cls", [int, object, dict, ListAndDataclass, local_class(), len, lambda: 1, Line("a", 1), "x"])
def test_what_cannot_be_registered(cls):
    with pytest.raises(InvalidOptionError):
        register(cls)


class Size(Enum):
    S = 1


@dataclass
class Box:
    size: Size


@dataclass
class Crate:
    box: Box


class Pair(NamedTuple):
    crate: Optional["Crate"]


class Lone(Enum):
    X = 1


class Tagged(Enum):
    X = 1


T = TypeVar("T")


@dataclass
class Wrapper(Generic[T]):
    inner: T


def takes(
    pairs: "dict[str, list[Pair | None]]",
    lone: "Lone",
    unknown: "Missing" = None,  # noqa: F821
) -> Wrapper[Annotated[Tagged, "x"]]: ...


def test_annotations_register_what_they_name_however_deep():
    register_annotations(takes)
    value = [Pair(Crate(box=Box(Size.S))), Lone.X, Wrapper(Tagged.X)]
    assert same(round_trip(value), value)


@pytest.mark.parametrize("fn", [len, print, lambda x: x, typing.cast(Any, 3), type("C", (), {})])
def test_annotations_never_raise(fn):
    register_annotations(fn)


def test_annotations_of_local_classes_are_left_out():
    local = local_class()

    def fn(x: local): ...

    register_annotations(fn)
    with pytest.raises(CodecError, match="module-level"):
        encode(local(1))


class InAlias(Enum):
    X = 1


ALIASES = """
type Tree = InAlias | list[Tree] | dict[str, Tree]
type Broken = list[Missing]
def takes_aliases(tree: Tree, broken: Broken, both: tuple[Tree, Broken]): ...
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is of Python 3.12")
def test_type_aliases_are_followed_even_into_themselves():
    namespace = {"InAlias": InAlias}
    exec(ALIASES, namespace)
    register_annotations(namespace["takes_aliases"])
    assert round_trip(InAlias.X) is InAlias.X
