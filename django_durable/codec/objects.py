"""Take instances of registered classes apart into fields, and build them again through their constructor.

Four kinds: Enum, dataclass, NamedTuple, pydantic model. pydantic is known by its methods, never imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, Flag
from functools import cached_property
from typing import Any, Literal

from django_durable.exceptions import CodecError

Kind = Literal["enum", "dataclass", "namedtuple", "pydantic"]

_BUILTIN_BASES = (str, int, float, bytes, list, dict, tuple, set, frozenset, BaseException)


def kind_of(cls: type) -> Kind | None:
    """What a class is to the codec, or None if it cannot be registered."""
    if issubclass(cls, Enum):
        return "enum"
    if is_pydantic(cls):
        return "pydantic"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "namedtuple"
    # A dataclass that is also a list or a dict has contents beside its fields, which would be lost.
    if is_dataclass(cls) and not issubclass(cls, _BUILTIN_BASES):
        return "dataclass"
    return None


def is_pydantic(cls: type) -> bool:
    return all(hasattr(cls, name) for name in ("model_fields", "model_dump", "model_validate"))


def fields_of(value: Any) -> dict[str, object]:
    """The constructor's arguments that make an equal instance. Raises CodecError if some state has none."""
    kind = kind_of(type(value))
    if kind == "namedtuple":
        return dict(zip(type(value)._fields, tuple(value), strict=True))
    try:
        return _model_fields(value) if kind == "pydantic" else _dataclass_fields(value)
    except AttributeError as error:
        raise CodecError(f"{type(value).__qualname__} is incomplete: {error}.") from error


def unset_fields_of(value: Any) -> list[str]:
    """Fields of a pydantic model that nobody set, so that ``exclude_unset`` works the same afterwards."""
    cls = type(value)
    return sorted(set(cls.model_fields) - value.model_fields_set) if is_pydantic(cls) else []


def build(cls: type, given: Mapping[str, object], unset: Iterable[str] = ()) -> object:
    """Make an instance from fields. The class's own constructor and validators run and may raise anything."""
    known, takes_more = _known_fields(cls)
    surplus = sorted(given.keys() - known)
    if surplus and not takes_more:
        raise CodecError(
            f"{cls.__qualname__} has no field {', '.join(surplus)[:200]} that its constructor takes. "
            "Keep fields that stored data names, or register the new shape as another class."
        )
    if not is_pydantic(cls):
        return cls(**given)
    return _build_model(cls, given, unset)


def member_key(value: Enum) -> str | int:
    """What names an Enum member: its name, or the bits of a Flag, whose combinations have none."""
    return value.value if isinstance(value, Flag) else value.name


def member(cls: type, key: object) -> object:
    """The Enum member of a key. Raises CodecError if there is none."""
    if issubclass(cls, Flag) and type(key) is int:
        return cls(key)
    found = cls.__members__.get(key) if issubclass(cls, Enum) and isinstance(key, str) else None
    if found is None:
        raise CodecError(f"{cls.__qualname__} has no member {str(key)[:100]!r}. Keep members that stored data names.")
    return found


def _dataclass_fields(value: Any) -> dict[str, object]:
    cls = type(value)
    derived = [field.name for field in fields(value) if not field.init]
    if derived:
        raise CodecError(
            f"{cls.__qualname__} has init=False fields, which nothing can restore: {', '.join(derived)}. "
            "Make them properties, or return plain data."
        )
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    held = getattr(value, "__dict__", {}).keys() - given.keys() - {"__orig_class__"}  # typing's, of Box[int](1)
    extra = sorted(name for name in held if not _is_cached(cls, name))
    if extra:
        raise CodecError(f"{cls.__qualname__} carries attributes that are no fields: {', '.join(extra)[:200]}.")
    return given


def _is_cached(cls: type, name: str) -> bool:
    """A cached_property fills itself again; losing it loses nothing."""
    return any(isinstance(vars(base).get(name), cached_property) for base in cls.__mro__)


def _model_fields(value: Any) -> dict[str, object]:
    given = {name: getattr(value, name) for name in type(value).model_fields}
    return given | (value.model_extra or {})


def _known_fields(cls: Any) -> tuple[set[str], bool]:
    kind = kind_of(cls)
    if kind == "pydantic":
        return set(cls.model_fields), cls.model_config.get("extra") == "allow"
    if kind == "namedtuple":
        return set(cls._fields), False
    if kind == "dataclass":
        return {field.name for field in fields(cls) if field.init}, False
    raise CodecError(f"{cls.__qualname__} is an Enum; the text holds fields.")


def _build_model(cls: Any, given: Mapping[str, object], unset: Iterable[str]) -> object:
    if getattr(cls, "__pydantic_root_model__", False):
        return cls.model_validate(given["root"])
    made = cls.model_validate({_input_key(cls, name): value for name, value in given.items()})
    made.model_fields_set.difference_update(unset)
    return made


def _input_key(cls: Any, name: str) -> str:
    """Under which key ``model_validate`` looks for a field: validation goes by alias, our text by name."""
    field = cls.model_fields.get(name)
    alias = (field.validation_alias or field.alias) if field else None
    choices = getattr(alias, "choices", None)
    alias = choices[0] if choices else alias
    return alias if isinstance(alias, str) else name
