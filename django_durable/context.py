"""Context: what a workflow may do. Its Runtime protocol is what the engine implements.

No engine, no model and no Celery here: workflow code that imports this imports nothing of them.
"""

from __future__ import annotations

import operator
import random
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from logging import Logger, LoggerAdapter
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from django.core.exceptions import ValidationError

from django_durable import codec
from django_durable.clock import to_instant, to_seconds
from django_durable.exceptions import ConfigurationError, InvalidOptionError, NotInWorkflowError, SignalRefusedError
from django_durable.names import Named, check_name, check_patch_id, check_step_id

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class SignalType(Named, Generic[T]):
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


Compensate = Callable[[R], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One branch of ``ctx.switch``: its name, which is stored; when to take it; what to run, with its own context."""

    name: str
    when: Callable[[Any], bool]
    run: Callable[[Context], Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """How a branch of ``ctx.parallel(..., settle=True)`` has ended: with a value, or with an error."""

    value: Any = None
    error: BaseException | None = None

    @property
    def is_ok(self) -> bool:
        return self.error is None


class Runtime(Protocol):
    """What the engine must offer; ``engine.replay.Replay`` does."""

    execution_id: uuid.UUID
    attempt: int

    def step(
        self,
        step_id: str | None,
        body: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        compensate: Callable[..., Any] | None,
    ) -> Any:
        """Run a step body or hand out its recorded outcome; step_id None: the body's own name."""

    def rollback(self) -> None: ...
    def switch(self, part: str, value: Any, cases: Sequence[Case], default: Callable[[Context], Any] | None) -> Any: ...
    def parallel(
        self, part: str, each: Mapping[str, Callable[[Context], Any]], settle: bool, limit: int | None
    ) -> dict[str, Any]: ...
    def sleep(self, seconds: float) -> None: ...
    def sleep_until(self, at: datetime) -> None: ...
    def wait_for_signal(self, name: str, timeout_seconds: float | None, default: Any) -> Any: ...
    def signal_token(self, name: str, lifetime_seconds: float) -> str: ...
    def patched(self, patch_id: str) -> bool: ...
    def deprecate_patch(self, patch_id: str) -> None: ...
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

    # ParamSpec has no place for a keyword of ours: with compensate= the body's arguments are not checked.
    @overload
    def step(
        self, body: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, compensate: Compensate[R], **kwargs: Any
    ) -> R: ...
    @overload
    def step(self, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any) -> R: ...
    @overload
    def step(
        self,
        step_id: str,
        body: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        compensate: Compensate[R],
        **kwargs: Any,
    ) -> R: ...
    @overload
    def step(
        self, step_id: str, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any
    ) -> R: ...
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
        compensate: undoes the step once it has completed, see ``rollback``; called with its result, and a step itself.
        Returns the value as it was stored and read back, so that the first run and every replay see the same.
        Raises StepFailed, or the declared error of ``raises=``.
        """
        compensate = kwargs.pop("compensate", None)
        if compensate is not None and not callable(compensate) and not hasattr(compensate, "call"):
            raise InvalidOptionError(f"ctx.step(..., compensate={compensate!r}): give a function of the step's result.")
        if isinstance(first, str):
            if not args or not callable(args[0]):
                raise InvalidOptionError(f"ctx.step({first!r}, ...): the second argument is the function to run.")
            return self._runtime.step(check_step_id(first), args[0], args[1:], kwargs, compensate)
        if not callable(first) and not hasattr(first, "call"):
            raise InvalidOptionError(f"ctx.step({first!r}): give a function, or an id and a function.")
        return self._runtime.step(None, first, args, kwargs, compensate)

    def rollback(self) -> None:
        """Undo now what completed steps with ``compensate=`` have done, the latest first; then the workflow goes on.

        It happens by itself when the workflow fails, is cancelled or passes its deadline, unless it was registered with
        ``on_failure="leave"``. A compensation follows the rules of a step, its own retry policy too; neither a
        cancellation nor the deadline interrupts it. One that gives up leaves the execution stuck until a person
        retries it, skips it or records it as done.
        """
        self._runtime.rollback()

    def switch(
        self,
        part: str,
        value: V,
        branches: Mapping[str, Callable[[Context], R]] | Sequence[Case],
        *,
        default: Callable[[Context], R] | None = None,
    ) -> R:
        """Take one branch, and the same one at every replay, whatever ``value`` and the cases say then.

        branches: functions by the value that chooses them, a text; or ``Case`` objects, the first that matches counts.
        Each gets a context of its own, in which its step ids are its own; use no other inside. Returns what the branch
        returns. Raises InvalidOptionError if none matches and there is no ``default``.
        """
        if isinstance(branches, Mapping):
            branches = [Case(name, partial(operator.eq, name), run) for name, run in branches.items()]
        names = [check_step_id(case.name) for case in branches]
        _check_branches("switch", names, [case.run for case in branches] + ([default] if default is not None else []))
        return cast(R, self._runtime.switch(check_step_id(part), value, branches, default))

    @overload
    def parallel(
        self, branches: Mapping[str, Callable[[Context], R]], /, *, settle: Literal[False] = False
    ) -> dict[str, R]: ...
    @overload
    def parallel(
        self, part: str, branches: Mapping[str, Callable[[Context], R]], /, *, settle: Literal[False] = False
    ) -> dict[str, R]: ...
    @overload
    def parallel(
        self, branches: Mapping[str, Callable[[Context], Any]], /, *, settle: Literal[True]
    ) -> dict[str, Settled]: ...
    @overload
    def parallel(
        self, part: str, branches: Mapping[str, Callable[[Context], Any]], /, *, settle: Literal[True]
    ) -> dict[str, Settled]: ...
    def parallel(self, first: Any, /, *rest: Any, settle: bool = False) -> dict[str, Any]:
        """Run several branches; one that sleeps, waits or retries holds up no other. Returns their values by name.

        part: names it in the history, default "parallel"; repeats are numbered. Each branch gets a context of its own,
        in which its step ids are its own; use no other inside. Their step bodies take turns. The first error calls off
        the others: they get ``Cancelled`` where they wait, what the completed steps of all branches have done is undone
        (unless ``on_failure="leave"``), and then it is raised.
        settle: wait for all of them, whatever happens to one; the values are ``Settled``.
        """
        part, (branches,) = _part("parallel", first, rest, takes=1)
        if not isinstance(branches, Mapping):
            raise InvalidOptionError(f"ctx.parallel: {branches!r} are no branches; give a dict of functions by name.")
        _check_branches("parallel", [check_step_id(name) for name in branches], list(branches.values()))
        return self._runtime.parallel(part, branches, settle, None)

    @overload
    def gather(self, *branches: Callable[[Context], R]) -> list[R]: ...
    @overload
    def gather(self, part: str, /, *branches: Callable[[Context], R]) -> list[R]: ...
    def gather(self, *given: Any) -> list[Any]:
        """``parallel`` for branches without names; their values in the same order."""
        part, branches = _part("gather", given[0], given[1:]) if given else ("gather", ())
        _check_branches("gather", [], branches)
        named = {str(number): branch for number, branch in enumerate(branches)}
        return list(self._runtime.parallel(part, named, False, None).values())

    @overload
    def map(
        self, fn: Callable[[Context, T], R], items: Iterable[T], /, *, concurrency: int | None = None
    ) -> list[R]: ...
    @overload
    def map(
        self, part: str, fn: Callable[[Context, T], R], items: Iterable[T], /, *, concurrency: int | None = None
    ) -> list[R]: ...
    def map(self, first: Any, /, *rest: Any, concurrency: int | None = None) -> list[Any]:
        """``parallel`` over items: ``fn(ctx, item)`` for each, their values in the same order.

        items: the same ones in every replay, so take them from arguments or steps. concurrency: how many may be begun
        and not ended at one time; None is no limit.
        """
        part, (fn, items) = _part("map", first, rest, takes=2)
        if concurrency is not None and (isinstance(concurrency, bool) or not concurrency >= 1):
            raise InvalidOptionError(f"concurrency={concurrency!r}: give a whole number from 1, or None.")
        _check_branches("map", [], [fn])
        named = {str(number): partial(_call_with, fn, item) for number, item in enumerate(items)}
        return list(self._runtime.parallel(part, named, False, concurrency).values())

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

    def patched(self, patch_id: str) -> bool:
        """Whether to take the new way: False in an execution that was here before, with code without this patch.

        The answer stays the same in every replay, and for every later call of that id in this branch and below it.
        """
        return self._runtime.patched(check_patch_id(patch_id))

    def deprecate_patch(self, patch_id: str) -> None:
        """Instead of ``patched``, once no live execution takes the old way: in code that has only the new one.

        It fits executions that recorded the patch, and those that did not. Remove it when the former have ended.
        """
        self._runtime.deprecate_patch(check_patch_id(patch_id))

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


def _part(call: str, first: Any, rest: tuple[Any, ...], *, takes: int | None = None) -> tuple[str, tuple[Any, ...]]:
    """The id and what follows it; without one the name of the call."""
    part, given = (check_step_id(first), rest) if isinstance(first, str) else (call, (first, *rest))
    if takes is not None and len(given) != takes:
        raise TypeError(f"ctx.{call} takes {takes} positional arguments beside its id, not {len(given)}.")
    return part, given


def _call_with(fn: Callable[[Context, T], R], item: T, ctx: Context) -> R:
    return fn(ctx, item)


def _check_branches(call: str, names: Sequence[str], branches: Sequence[object]) -> None:
    if len(set(names)) != len(names):
        raise InvalidOptionError(f"ctx.{call}: two branches have one name among {', '.join(names)}.")
    for branch in branches:
        if not callable(branch):
            raise InvalidOptionError(f"ctx.{call}: {branch!r} is no branch; give a function of the branch's context.")


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
