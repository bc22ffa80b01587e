"""Signals as workflows and callers name them: a message, the class of its payload, and what that may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from django.core.exceptions import ValidationError

from django_durable.exceptions import ConfigurationError, InvalidOptionError, SignalRefusedError
from django_durable.messages import Message
from django_durable.names import check_name

T = TypeVar("T")


class SignalType(Message[T]):
    """A named message into a workflow, with the class of its payload.

    payload: a dataclass, an Enum or a pydantic model; None for plain JSON values. It is registered with the codec.
    validator: a pure function of the payload that refuses it by returning False or raising ValueError or Django's
    ValidationError. It runs at the call that sends, also where the signal is given by its name.
    """

    noun = "Signal"

    @overload
    def __init__(self, name: str, payload: type[T], *, validator: Callable[[T], bool | None] | None = None) -> None: ...
    @overload  # else a type checker would ask the user to annotate one without a class
    def __init__(
        self: SignalType[Any], name: str, payload: None = None, *, validator: Callable[[Any], bool | None] | None = None
    ) -> None: ...
    def __init__(
        self, name: str, payload: type[T] | None = None, *, validator: Callable[[T], bool | None] | None = None
    ) -> None:
        super().__init__(name, payload)
        self.validator = validator
        if validator is not None:
            _declare_validated(self)

    def check(self, payload: Any) -> None:
        """Refuse a payload of another class, or one that the validator refuses, at the call."""
        super().check(payload)
        if self.validator is not None and not self._is_valid(self.validator, payload):
            raise SignalRefusedError(self.name)

    def _is_valid(self, validator: Callable[[T], bool | None], payload: Any) -> bool:
        try:
            verdict = validator(payload)
        except ValidationError as error:
            raise SignalRefusedError(self.name, " ".join(error.messages)) from error
        except ValueError as error:
            raise SignalRefusedError(self.name, str(error)) from error
        if not (verdict is None or isinstance(verdict, bool)):
            raise ConfigurationError(
                f"The validator of signal {self.name!r} returned {type(verdict).__qualname__}: "
                "let it return True or False, or nothing and raise ValueError."
            )
        return verdict is not False


_VALIDATED: dict[str, SignalType[Any]] = {}  # by name, so that no way of sending goes round a validator


def _declare_validated(kind: SignalType[Any]) -> None:
    if not callable(kind.validator):
        raise InvalidOptionError(f"validator={kind.validator!r}: give a function of the payload.")
    other = _VALIDATED.get(kind.name)
    if other is not None and _place(other.validator) != _place(kind.validator):
        raise ConfigurationError(
            f"Signal {kind.name!r} has two validators, {_place(other.validator)} and {_place(kind.validator)}. "
            "Define it once and import it, or rename one."
        )
    _VALIDATED[kind.name] = kind


def _place(validator: object) -> str:
    """Where it is defined; a module that is imported again defines the same."""
    name = getattr(validator, "__qualname__", None)
    return f"{validator.__module__}.{name}" if name else repr(validator)


def signal_name(signal: SignalType[Any] | str) -> str:
    return signal.name if isinstance(signal, SignalType) else check_name(signal, "Signal name")


def check_signal(signal: SignalType[Any] | str, payload: object) -> str:
    """The name of a signal, once its payload has passed every check that is declared for that name."""
    name = signal_name(signal)
    for kind in {signal, _VALIDATED.get(name)}:
        if isinstance(kind, SignalType):
            kind.check(payload)
    return name
