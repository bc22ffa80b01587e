"""Context: what a workflow may do. Its Runtime protocol is what the engine implements.

No engine, no model and no Celery here: workflow code that imports this imports nothing of them.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging import Logger, LoggerAdapter
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from django.core.exceptions import ValidationError

from django_durable import codec
from django_durable.clock import to_instant, to_seconds
from django_durable.exceptions import ConfigurationError, InvalidOptionError, NotInWorkflowError, SignalRefusedError
from django_durable.names import check_name, check_step_id

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SignalType(Generic[T]):
    """A named message into a workflow, with the class of its payload.

    payload: a dataclass, an Enum or a pydantic model; None for plain JSON values. It is registered with the codec.
    validator: a pure function of the payload that refuses it by returning False or raising ValueError or Django's
    ValidationError. It runs at the call that sends, also where the signal is given by its name.
    """

    def __init__(
        self, name: str, payload: type[T] | None = None, *, validator: Callable[[T], bool | None] | None = None
    ) -> None:
        self.name = check_name(name, "Signal name")
        self.payload = payload
        self.validator = validator
        if payload is not None and payload not in _PLAIN_TYPES:
            codec.register(payload)
        if validator is not None:
            _declare_validated(self)

    def __repr__(self) -> str:
        return f"SignalType({self.name!r})"

    def check(self, payload: Any) -> None:
        """Refuse a payload of another class, or one that the validator refuses, at the call."""
        if self.payload is not None and not isinstance(payload, self.payload):
            raise InvalidOptionError(
                f"Signal {self.name!r} carries {self.payload.__qualname__}, not {type(payload).__qualname__}."
            )
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


_PLAIN_TYPES: frozenset[type] = frozenset({str, int, float, bool, dict, list, tuple})
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


class Runtime(Protocol):
    """What the engine must offer; ``engine.replay.Replay`` does."""

    execution_id: uuid.UUID
    attempt: int

    def step(self, step_id: str | None, body: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step body or hand out its recorded outcome; step_id None: the body's own name."""

    def sleep(self, seconds: float) -> None: ...
    def sleep_until(self, at: datetime) -> None: ...
    def wait_for_signal(self, name: str, timeout_seconds: float | None, default: Any) -> Any: ...
    def signal_token(self, name: str, lifetime_seconds: float) -> str: ...
    def note(self, text: str) -> None: ...
    def now(self) -> datetime: ...
    def random(self) -> random.Random: ...
    def log(self) -> LoggerAdapter[Logger]: ...
    def progress(self, current: int, total: int | None, message: str) -> None: ...


class Context:
    """The durable operations of one execution; the first argument of every workflow function.

    Each call is matched with the recorded history by order, kind and id, so the same calls must come in the same
    order in every run: take time, randomness and outside facts from here or from steps.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def execution_id(self) -> uuid.UUID:
        return self._runtime.execution_id

    @property
    def attempt(self) -> int:
        """1, or more when workers died in this pass before. For logs; not the same in every replay."""
        return self._runtime.attempt

    @overload
    def step(self, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(self, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(
        self, step_id: str, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    def step(self, step_id: str, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def step(self, first: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a step once and record its outcome; on replay hand the recorded outcome out.

        body: a plain or ``@step`` function, an ``async def`` function, a Celery task or a ``django.tasks`` task; it
        runs here, in this worker. step_id: names the checkpoint, default is the body's name; repeats are numbered.
        Returns the value as it was stored and read back, so that the first run and every replay see the same.
        Raises StepFailed, or the declared error of ``raises=``.
        """
        if isinstance(first, str):
            if not args or not callable(args[0]):
                raise InvalidOptionError(f"ctx.step({first!r}, ...): the second argument is the function to run.")
            return self._runtime.step(check_step_id(first), args[0], args[1:], kwargs)
        if not callable(first) and not hasattr(first, "call"):
            raise InvalidOptionError(f"ctx.step({first!r}): give a function, or an id and a function.")
        return self._runtime.step(None, first, args, kwargs)

    def sleep(self, duration: timedelta | float) -> None:
        """Wait durably; duration: a timedelta or seconds, >= 0. The worker is free meanwhile; never ends early."""
        self._runtime.sleep(to_seconds(duration, "sleep duration"))

    def sleep_until(self, at: datetime) -> None:
        """Wait durably until an aware point in time; one in the past ends at once."""
        self._runtime.sleep_until(to_instant(at, "sleep_until at"))

    @overload
    def wait_for_signal(
        self, signal: SignalType[T], *, timeout: timedelta | float | None = None, default: None = None
    ) -> T | None: ...
    @overload
    def wait_for_signal(
        self, signal: SignalType[T], *, timeout: timedelta | float | None = None, default: R
    ) -> T | R: ...
    @overload
    def wait_for_signal(self, signal: str, *, timeout: timedelta | float | None = None, default: Any = None) -> Any: ...
    def wait_for_signal(
        self, signal: SignalType[Any] | str, *, timeout: timedelta | float | None = None, default: Any = None
    ) -> Any:
        """Consume the oldest unconsumed signal of that name, waiting for one if there is none.

        Returns its payload, or ``default`` once ``timeout`` has passed.
        """
        name = signal_name(signal)
        seconds = None if timeout is None else to_seconds(timeout, "timeout")
        return self._runtime.wait_for_signal(name, seconds, default)

    def signal_token(self, signal: SignalType[Any] | str, *, expires: timedelta | float) -> str:
        """A signed, single-use text with which somebody outside may send that signal: for a link, a CI job, a webhook.

        expires: a timedelta or seconds, > 0, by the database's clock; give the wait the same timeout. The text needs
        no escaping in a URL and is a secret. Every replay gets the same one, until SECRET_KEY changes: then another
        one for the same single use. It is not in the history, so do not return it from a step or the workflow.
        """
        name = signal_name(signal)
        lifetime_seconds = to_seconds(expires, "expires")
        if lifetime_seconds == 0:
            raise InvalidOptionError("expires=0: give a positive duration.")
        return self._runtime.signal_token(name, lifetime_seconds)

    def note(self, text: str) -> None:
        """Record a line for people in the history; text: up to 2,000 characters."""
        if not isinstance(text, str) or len(text) > 2000:
            raise InvalidOptionError("ctx.note(text): give a string of at most 2,000 characters.")
        self._runtime.note(text)

    def now(self) -> datetime:
        """The database's time, recorded: every replay gets the same. Costs one checkpoint."""
        return self._runtime.now()

    def random(self) -> random.Random:
        """A generator seeded by the execution: the same numbers in every replay, at no cost."""
        return self._runtime.random()

    def uuid4(self) -> uuid.UUID:
        """A random UUID, the same in every replay. Unique, not secret: it is derived from the execution's id."""
        return uuid.UUID(int=self._runtime.random().getrandbits(128), version=4)

    @property
    def log(self) -> LoggerAdapter[Logger]:
        """A standard logger bound to this execution; quiet while recorded history is replayed."""
        return self._runtime.log()

    def progress(self, current: int, total: int | None = None, message: str = "") -> None:
        """Show how far this is, in lists and pages; not part of the history. Written at most once a second."""
        numbers = (current, total if total is not None else 0)
        if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in numbers):
            raise InvalidOptionError("ctx.progress(current, total): give whole numbers >= 0.")
        self._runtime.progress(current, total, str(message)[:255])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """What a running step body may know about itself."""

    execution_id: uuid.UUID
    step_id: str
    attempt: int  # from 1

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this step in this execution, and for no other; give it to the outside world."""
        return str(uuid.uuid5(self.execution_id, self.step_id))


running_step: ContextVar[StepInfo] = ContextVar("django_durable_step")


def current_step() -> StepInfo:
    """The step whose body is running. Raises NotInWorkflowError elsewhere."""
    try:
        return running_step.get()
    except LookupError:
        raise NotInWorkflowError("current_step() works only while a step's body runs inside a workflow.") from None
