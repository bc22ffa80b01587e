"""Which classes stored text may name. Lookups only: a name that is not here is an error, never an import."""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, TypeVar, overload

from django_durable.codec.objects import is_pydantic, kind_of
from django_durable.exceptions import InvalidOptionError

C = TypeVar("C", bound=type)

_class_by_name: dict[str, type] = {}
_name_by_class: dict[type, str] = {}


@overload
def register(cls: C, name: str | None = None) -> C: ...
@overload
def register(cls: None = None, name: str | None = None) -> Callable[[C], C]: ...
def register(cls: Any = None, name: str | None = None) -> Any:
    """Let values of an Enum, dataclass, NamedTuple or pydantic class be stored; works as a decorator.

    Classes that its fields name in their annotations are registered with it, as far as they can be resolved.
    name: written into stored data, so it must outlive refactorings; default ``module.QualName``. Registering
    again under another name adds it: the newest is written, all are read.
    Raises InvalidOptionError for other kinds of class, local classes and a name that another class holds.
    """
    if cls is None:
        return lambda decorated: register(decorated, name)
    _check(cls)
    _enter(cls, name or default_name(cls))
    for nested in _classes_in_fields(cls):
        _register_quietly(nested)
    return cls


def register_annotations(fn: Callable[..., Any]) -> None:
    """Register the classes of a supported kind in a function's annotations, generics and unions included.

    Best effort: what cannot be resolved or registered is left out and refused when such a value turns up.
    """
    for hint in _hints(fn):
        for cls in _classes_in(hint):
            _register_quietly(cls)


def name_of(cls: type) -> str | None:
    """The name to write for instances of exactly this class, or None."""
    return _name_by_class.get(cls)


def class_of(name: object) -> type | None:
    """The class a stored name stands for, or None."""
    return _class_by_name.get(name) if isinstance(name, str) else None


def default_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _check(cls: object) -> None:
    if not isinstance(cls, type) or kind_of(cls) is None:
        shown = getattr(cls, "__qualname__", type(cls).__qualname__)
        raise InvalidOptionError(
            f"register({shown}): only Enum, dataclass, NamedTuple and pydantic classes can be registered."
        )
    if "<" in default_name(cls):
        raise InvalidOptionError(
            f"register({default_name(cls)}): the class is local, so another process cannot have it. "
            "Move it to module level."
        )


def _enter(cls: type, name: str) -> None:
    holder = _class_by_name.get(name)
    # A module that was imported again brings a new class of the same name; it takes the old one's place.
    if holder is not None and default_name(holder) != default_name(cls):
        raise InvalidOptionError(
            f"register({default_name(cls)}): the name {name!r} belongs to {default_name(holder)}. Choose another."
        )
    _class_by_name[name] = cls
    _name_by_class[cls] = name


def _register_quietly(cls: type) -> None:
    if cls in _name_by_class:
        return
    with suppress(InvalidOptionError):
        register(cls)


def _classes_in_fields(cls: type) -> Iterator[type]:
    if is_dataclass(cls) or is_pydantic(cls) or hasattr(cls, "_fields"):
        for hint in _hints(cls):
            yield from _classes_in(hint)


def _classes_in(hint: object, seen: set[int] | None = None) -> Iterator[type]:
    """Classes of a supported kind inside a type hint; seen, because an alias may contain itself."""
    seen = set() if seen is None else seen
    if id(hint) in seen:
        return
    seen.add(id(hint))
    if isinstance(hint, type) and kind_of(hint):
        yield hint
    for part in (typing.get_origin(hint), *typing.get_args(hint), _aliased(hint)):
        if part is not None:
            yield from _classes_in(part, seen)


def _aliased(hint: object) -> object:
    """What a ``type X = ...`` stands for; Python evaluates it here, and it may name what does not exist."""
    if type(hint).__name__ != "TypeAliasType":
        return None
    with suppress(Exception):
        return typing.cast(object, hint.__value__)  # type: ignore[attr-defined]
    return None


def _hints(owner: Any) -> list[object]:
    """Resolved annotations; where one cannot be resolved, the others still are."""
    try:
        return list(typing.get_type_hints(owner, include_extras=True).values())
    except Exception:
        return [hint for part in _raw_annotations(owner) for hint in _resolve(owner, part)]


def _raw_annotations(owner: Any) -> list[object]:
    try:
        return list(owner.__annotations__.values())
    except Exception:  # Python 3.14 evaluates here, and gives up at the first unknown name
        return []


def _resolve(owner: Any, annotation: object) -> list[object]:
    def probe() -> None: ...

    probe.__annotations__ = {"it": annotation}
    module = sys.modules.get(getattr(owner, "__module__", ""))
    names = getattr(owner, "__globals__", vars(module) if module else {})
    try:
        return list(typing.get_type_hints(probe, globalns=names, include_extras=True).values())
    except Exception:
        return []
