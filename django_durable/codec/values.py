"""Encode and decode values: the walk over containers, the envelope and the limits."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Never

from django_durable.codec import registry
from django_durable.codec.objects import build, fields_of, member, member_key, unset_fields_of
from django_durable.codec.refusals import advice_for
from django_durable.codec.scalars import LOADERS, SCALARS, TEXT, breaks_in_json
from django_durable.exceptions import CodecError, PayloadTooLargeError

VERSION = 1
MAX_DEPTH = 100

# Python reads no longer decimal integers by default (CVE-2020-10735).
_INT_BOUND = 10**4300
_MAX_INT_BITS = _INT_BOUND.bit_length()


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _sort_escaped(node: dict[str, Any]) -> dict[str, Any]:
    if len(node) == 1 and type(node.get("$dict")) is list:
        node["$dict"].sort(key=_json.encode)
    return node


# Made once: the functions of the json module make a new one for each call with options.
_plain: dict[str, Any] = {"ensure_ascii": True, "allow_nan": False, "check_circular": False, "separators": (",", ":")}
_json = json.JSONEncoder(**_plain)
_reader = json.JSONDecoder(parse_constant=_refuse_constant)
_canonical = json.JSONEncoder(**_plain, sort_keys=True)
_canonical_reader = json.JSONDecoder(object_hook=_sort_escaped, parse_constant=_refuse_constant)


def encode(value: object, *, limit_bytes: int | None = None, path: str = "") -> str:
    """Write a value as JSON text.

    limit_bytes: of the text. path: what to call the value in an error, like ``args``.
    Raises CodecError naming the place inside the value; PayloadTooLargeError beyond the limit, as soon as that
    is certain, so its ``size_bytes`` may be less than the whole.
    """
    walk = _Encoder(limit_bytes, path)
    text = walk.text(value)
    if limit_bytes is not None and len(text) > limit_bytes:
        raise PayloadTooLargeError(len(text), limit_bytes)
    if walk.classes:
        _check_rebuild(text, walk.classes, path)
    return text


def decode(text: str) -> Any:
    """Read what ``encode`` wrote; every call gives fresh objects.

    Raises CodecError, and nothing else, whatever the text.
    """
    node = _parse(text)
    if type(node) is not list or len(node) != 2 or type(node[0]) is not int:
        raise CodecError("The stored text is not an encoded value.")
    if node[0] != VERSION:
        raise CodecError(
            f"The stored text has format version {str(node[0])[:20]}, this release reads {VERSION}. "
            "Run a release that knows it."
        )
    try:
        return _untag(node[1])
    except RecursionError as error:
        raise CodecError("The stored text is nested too deep.") from error


def register_list(cls: type) -> None:
    """Write what is iterated as a list, and read a list: for a sequence that only stands for one."""
    _CONTAINERS[cls] = _Encoder._list


def round_trip(value: object) -> Any:
    """The value as a replay would see it."""
    return decode(encode(value))


def fingerprint(text: str) -> str:
    """SHA-256 hex of an encoded value, to compare inputs; the order of dict keys does not count."""
    try:
        node = _canonical_reader.decode(text)
        return hashlib.sha256(_canonical.encode(node).encode("ascii")).hexdigest()
    except (ValueError, TypeError, RecursionError) as error:
        raise CodecError("The stored text is not valid JSON.") from error


class _Encoder:
    """One walk: turns a value into a tree that JSON can write, remembering where it is."""

    def __init__(self, limit_bytes: int | None, root: str) -> None:
        self.classes: set[str] = set()
        self._limit = limit_bytes
        self._spent = 0
        self._root = root
        self._path: list[int | str | tuple[str]] = []
        self._open: set[int] = set()

    def text(self, value: object) -> str:
        try:
            return _json.encode([VERSION, self._tag(value)])
        except RecursionError as error:
            raise CodecError("Nested too deep for the stack that is left here.", self._where()) from error
        except ValueError as error:
            raise CodecError(f"JSON cannot hold this: {error}.", self._root) from error

    def _tag(self, value: Any) -> Any:
        self._spend(1)
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._string(value)
        if kind is int:
            return self._integer(value)
        if kind is float:
            return self._float(value)
        if kind in SCALARS:
            return self._scalar(value)
        name = registry.name_of(kind)
        if name is not None and isinstance(value, Enum):
            return {"$enum": [name, member_key(value)]}
        return self._nested(value, name)

    def _string(self, value: str) -> Any:
        self._spend(len(value))
        return {TEXT.tag: TEXT.dump(value)} if breaks_in_json(value) else value

    def _integer(self, value: int) -> int:
        if value.bit_length() >= _MAX_INT_BITS and not -_INT_BOUND < value < _INT_BOUND:
            self._refuse("The integer has more than 4300 digits. Return bytes or a string of hex digits.")
        return value

    def _float(self, value: float) -> float:
        if not math.isfinite(value):
            self._refuse(f"{value} is not a JSON number. Return None, or a string.")
        return value

    def _scalar(self, value: Any) -> dict[str, Any]:
        if type(value) is bytes:
            self._spend(len(value))
        row = SCALARS[type(value)]
        try:
            return {row.tag: row.dump(value)}
        except CodecError as error:
            self._refuse(error.message)
        except Exception as error:  # a tzinfo of the user's
            self._refuse(f"{type(value).__name__} cannot be written: {type(error).__name__}.")

    def _nested(self, value: Any, name: str | None) -> Any:
        write = _CONTAINERS.get(type(value))
        if write is None and name is None:
            self._refuse(advice_for(value))
        if id(value) in self._open:
            self._refuse("The value contains itself. Refer to the outer one by a key.")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(f"Nested deeper than {MAX_DEPTH} levels. Flatten it, or store it in a model.")
        self._open.add(id(value))
        tagged = write(self, value) if write else self._object(value, name or "")
        self._open.discard(id(value))
        return tagged

    def _list(self, values: Iterable[object]) -> list[Any]:
        tagged = []
        for index, value in enumerate(values):
            self._path.append(index)
            tagged.append(self._tag(value))
            self._path.pop()
        return tagged

    def _tuple(self, value: tuple[object, ...]) -> dict[str, Any]:
        return {"$tuple": self._list(value)}

    def _set(self, value: set[object] | frozenset[object]) -> dict[str, Any]:
        # The order of a set changes with the hash seed; the text must not.
        return {f"${type(value).__name__}": sorted(self._list(value), key=_json.encode)}

    def _dict(self, value: dict[Any, object]) -> dict[str, Any]:
        tagged: dict[str, Any] = {}
        escape = False
        for key, item in list(value.items()):
            if type(key) is not str:
                self._refuse(
                    f"A key is of type {type(key).__qualname__}, keys must be str. "
                    "Convert the keys, or return a list of pairs."
                )
            self._spend(len(key))
            escape = escape or breaks_in_json(key)
            self._path.append(key)
            tagged[key] = self._tag(item)
            self._path.pop()
        if escape or _looks_tagged(tagged):
            return {"$dict": [[self._string(key), item] for key, item in tagged.items()]}
        return tagged

    def _object(self, value: object, name: str) -> dict[str, Any]:
        self.classes.add(name)
        try:
            given = fields_of(value)
        except CodecError as error:
            self._refuse(error.message)
        body: list[Any] = [name, self._fields(given)]
        unset = unset_fields_of(value)
        return {"$object": [*body, unset] if unset else body}

    def _fields(self, given: dict[str, object]) -> dict[str, Any]:
        tagged = {}
        for name, value in given.items():
            self._path.append((name,))
            tagged[name] = self._tag(value)
            self._path.pop()
        return tagged

    def _spend(self, amount: int) -> None:
        # Every node and character takes at least a byte: a huge value, or a small one that shares its parts
        # a million times, is refused before it is built.
        self._spent += amount
        if self._limit is not None and self._spent > self._limit:
            raise PayloadTooLargeError(self._spent, self._limit)

    def _refuse(self, message: str) -> Never:
        raise CodecError(message, self._where())

    def _where(self) -> str:
        steps = [_step(part) for part in self._path]
        shown = steps if len(steps) <= 20 else [*steps[:10], "...", *steps[-10:]]
        return (self._root + "".join(shown)).removeprefix("" if self._root else ".")


def _step(part: int | str | tuple[str]) -> str:
    if isinstance(part, tuple):
        return f".{part[0]}"
    return f"[{part}]" if isinstance(part, int) else f"[{json.dumps(part[:50])}]"


_CONTAINERS: dict[type, Callable[[_Encoder, Any], Any]] = {
    list: _Encoder._list,
    tuple: _Encoder._tuple,
    dict: _Encoder._dict,
    set: _Encoder._set,
    frozenset: _Encoder._set,
}


def _looks_tagged(node: dict[str, Any]) -> bool:
    return len(node) == 1 and next(iter(node)).startswith("$")


def _check_rebuild(text: str, classes: set[str], path: str) -> None:
    """Prove that registered classes come back the same; validators and ``__post_init__`` may change things.

    Equal texts mean equal values of equal types; comparing the objects would need an ``__eq__`` of theirs.
    """
    try:
        again = _Encoder(None, path).text(decode(text))
    except CodecError as error:
        raise CodecError(f"The value can be written but not read: {error}", path) from error
    if again != text:
        raise CodecError(
            f"The value comes back changed. In {', '.join(sorted(classes))}: a validator or __post_init__ "
            "must leave its own output as it is.",
            path,
        )


def _parse(text: str) -> Any:
    try:
        return _reader.decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CodecError("The stored text is not valid JSON.") from error


def _untag(node: Any) -> Any:
    if type(node) is list:
        return [_untag(item) for item in node]
    if type(node) is dict:
        if _looks_tagged(node):
            return _load(*next(iter(node.items())))
        return {key: _untag(item) for key, item in node.items()}
    if type(node) is float and not math.isfinite(node):
        raise CodecError("The stored text holds a number beyond the range of float.")
    return node


def _load(tag: str, body: Any) -> Any:
    load = _TAGS.get(tag)
    if load is None:
        raise CodecError(f"Unknown tag {tag[:50]!r}. The text was written by a newer release, or by something else.")
    try:
        return load(body)
    except (CodecError, RecursionError):
        raise
    except Exception as error:
        raise CodecError(f"The body of {tag} cannot be read: {type(error).__name__}.") from error


def _load_items(body: Any) -> list[Any]:
    if type(body) is not list:
        raise TypeError
    return [_untag(item) for item in body]


def _load_dict(body: Any) -> dict[str, Any]:
    loaded = {_untag(key): _untag(item) for key, item in body}
    if not all(type(key) is str for key in loaded):
        raise TypeError
    return loaded


def _load_enum(body: Any) -> object:
    name, key = body
    return member(_class(name), key)


def _load_object(body: Any) -> object:
    name, given, *more = body
    cls = _class(name)
    fields = {key: _untag(item) for key, item in given.items()}
    try:
        return build(cls, fields, *more)
    except (CodecError, RecursionError):
        raise
    except Exception as error:
        raise CodecError(f"{name} refused its stored fields: {type(error).__name__}: {error!s:.500}") from error


def _class(name: object) -> type:
    cls = registry.class_of(name)
    if cls is None:
        raise CodecError(
            f"{str(name)[:200]!r} is not registered in this process. Register the class and keep it as long "
            "as stored data names it; after moving it, register_type(cls, name=<the old name>)."
        )
    return cls


_TAGS: dict[str, Callable[[Any], Any]] = {
    **LOADERS,
    "$tuple": lambda body: tuple(_load_items(body)),
    "$set": lambda body: set(_load_items(body)),
    "$frozenset": lambda body: frozenset(_load_items(body)),
    "$dict": _load_dict,
    "$enum": _load_enum,
    "$object": _load_object,
}
