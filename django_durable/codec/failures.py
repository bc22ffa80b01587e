"""Exceptions to text and back. A recorded error is data; only declared classes are ever made again."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from django_durable.codec.registry import default_name
from django_durable.codec.values import decode, encode
from django_durable.exceptions import CodecError

T = TypeVar("T")

MESSAGE_LIMIT_CHARS = 10_000
TRACEBACK_LIMIT_CHARS = 20_000
# Of args and state each; what an error carries beyond its message is a convenience, not worth a refusal.
EXTRAS_LIMIT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class RecordedError:
    """What is kept of an exception.

    type_name: ``module.QualName``. bases: the same of its base classes, nearest first.
    args, state: None if they held something that cannot be stored, or too much of it.
    """

    type_name: str
    message: str
    traceback_text: str = ""
    args: tuple[Any, ...] | None = None
    state: dict[str, Any] | None = None
    bases: tuple[str, ...] = ()


def encode_error(error: BaseException, *, traceback_text: str | None = None) -> str:
    """Record an exception; never refuses one.

    traceback_text: default is formatted from the exception. Long ones keep their end, long messages their
    beginning.
    """
    cls = type(error)
    text = _formatted(error) if traceback_text is None else traceback_text
    return encode(
        {
            "type": default_name(cls),
            "bases": [default_name(base) for base in cls.__mro__[1:] if issubclass(base, BaseException)],
            "message": _message(error),
            "traceback": text if len(text) <= TRACEBACK_LIMIT_CHARS else text[-TRACEBACK_LIMIT_CHARS:],
            # Texts inside the text: one that can no longer be read must not take the others with it.
            "args": _encoded(lambda: tuple(error.args)),
            "state": _encoded(lambda: dict(vars(error))),
        }
    )


def decode_error(text: str) -> RecordedError:
    """Read what ``encode_error`` wrote. Raises CodecError if the text is something else."""
    body = decode(text)
    try:
        return RecordedError(
            type_name=_text(body["type"]),
            message=_text(body["message"]),
            traceback_text=_text(body["traceback"]),
            args=_decoded(body["args"], tuple),
            state=_decoded(body["state"], dict),
            bases=tuple(map(_text, body["bases"])),
        )
    except (LookupError, TypeError) as error:
        raise CodecError("The stored text is not a recorded error.") from error


def rebuild_error(recorded: RecordedError, declared: tuple[type[BaseException], ...]) -> BaseException | None:
    """Make the exception again, if its class is declared.

    An error whose own class is not declared, but a base class is, comes back as the nearest such base class
    with the same args and attributes. None if nothing fits, or the class cannot be made from the record.
    The text only chooses among declared; it names no code to run.
    """
    by_name = {default_name(cls): cls for cls in reversed(declared)}
    for name in (recorded.type_name, *recorded.bases):
        if name in by_name:
            return _make(by_name[name], recorded)
    return None


def _make(cls: type[BaseException], recorded: RecordedError) -> BaseException | None:
    args = (recorded.message,) if recorded.args is None else recorded.args
    # Without its own args the constructor would be guessing; go past it.
    ways = (_construct, _bypass) if recorded.args is not None else (_bypass,)
    for way in ways:
        with suppress(Exception):  # the next way, or StepFailed, still tells the story
            made = way(cls, args)
            # A constructor may have put its own text into args, and would put it there twice.
            made.args = args
            if recorded.state is not None:
                vars(made).clear()
                vars(made).update(recorded.state)
            str(made)  # one that cannot even be printed is of no use to anyone
            return made
    return None


def _construct(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return cls(*args)


def _bypass(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return cls.__new__(cls, *args)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = f"<{type(error).__qualname__} that cannot be printed>"
    return str.__str__(text)[:MESSAGE_LIMIT_CHARS]


def _formatted(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return ""


def _encoded(read: Callable[[], object]) -> str | None:
    try:
        return encode(read(), limit_bytes=EXTRAS_LIMIT_BYTES)
    except Exception:
        return None


def _decoded(text: str | None, kind: type[T]) -> T | None:
    try:
        value = None if text is None else decode(text)
    except CodecError:
        return None
    return value if isinstance(value, kind) else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
