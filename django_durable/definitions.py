"""@workflow and @step: frozen definitions of what runs, and of how it is started."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from django_durable import codec, limits, signatures
from django_durable.answers import Answering, Query, Update
from django_durable.cadence import Cadence
from django_durable.coalesce import Coalesce
from django_durable.context import AsyncContext, Context
from django_durable.describe import Shape
from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.limits import Limit, Rate, Wanted
from django_durable.names import Named, check_step_id
from django_durable.options import (
    NO_OPTIONS,
    Disposition,
    IfFailed,
    PriorityName,
    StartOptions,
    check_timeout,
    start_options,
    workflow_options,
)
from django_durable.registry import Registry
from django_durable.retention import Retention
from django_durable.retry import NO_RETRY, Retry
from django_durable.schedule_spec import ScheduleSpec, specs_of

P = ParamSpec("P")
R = TypeVar("R")
OnFailure = Literal["compensate", "leave"]
OnChange = Literal["park", "tolerate"]
Declared = Cadence | ScheduleSpec


class Started(Protocol):
    """What ``start()`` returns: an ``Execution`` row, seen from here without importing models."""

    id: UUID
    workflow: str
    status: str
    key: str | None
    disposition: Disposition  # what this start has made of it


class Starter(Protocol):
    """The one door from definitions to the client, which opens it when it is imported."""

    def start(
        self,
        definition: WorkflowDefinition[..., Any],
        options: StartOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Started: ...

    def wait(self, started: Started, *, timeout_seconds: float | None, using: str | None) -> Any: ...

    def refuse_transaction(self, using: str | None) -> None: ...


_starter: list[Starter] = []


def bind_starter(starter: Starter) -> None:
    _starter[:] = [starter]


def _door() -> Starter:
    if not _starter:
        raise ConfigurationError("Add 'django_durable' to INSTALLED_APPS and call django.setup() before starting.")
    return _starter[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkflowDefinition(Named, Answering, Generic[P, R]):
    """A registered workflow. Call it with a Context to run the plain function, ``start()`` it to make it durable."""

    name: str
    version: int
    category: str | None
    fn: Callable[..., R]
    queue: str
    priority: PriorityName
    timeout_seconds: float | None
    key_scope: str
    key_retention_seconds: float | None
    on_failure: OnFailure
    on_change: OnChange
    signature: inspect.Signature  # without ctx
    arity: range  # numbers of positional arguments that fit it by themselves
    retention: Retention = field(default_factory=Retention)
    queries: dict[str, Query[Any]] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    limits: tuple[Limit | Rate, ...] = ()
    schedules: tuple[ScheduleSpec, ...] = ()

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(ctx, *args, **kwargs)

    def check_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError for arguments that do not fit the function."""
        if kwargs or len(args) not in self.arity:
            self.signature.bind(*args, **kwargs)

    def wanted(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Wanted]:
        """What an execution with these arguments needs of its limits. Raises InvalidOptionError."""
        return limits.wanted(self.limits, self.name, self.signature, args, kwargs) if self.limits else []

    def describe(self) -> Shape:
        """Its durable calls on all branches, read from the function's text; nothing of it runs.

        Raises SourceUnavailableError.
        """
        return Shape.of(self.fn, workflow=self.name, version=self.version)

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Started:
        """Start an execution in the caller's transaction: it exists if and when that commits.

        Raises TypeError for arguments that do not fit the function, CodecError for values that cannot be stored.
        Outside a transaction a lost reply leaves open whether it started: give a ``key``, then a retry is harmless.
        """
        return _door().start(self, NO_OPTIONS, args, kwargs)

    def start_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """``start()`` and wait for the result, without limit. Raises as ``client.result`` does."""
        return BoundWorkflow(self, NO_OPTIONS).start_and_wait(*args, **kwargs)

    def using(
        self,
        *,
        key: str | None = None,
        key_scope: str | None = None,
        if_failed: IfFailed = "reuse",
        coalesce: Coalesce | None = None,
        subject: object | None = None,
        queue: str | None = None,
        priority: PriorityName | None = None,
        delay: timedelta | float | None = None,
        at: datetime | None = None,
        timeout: timedelta | float | None = None,
        labels: Mapping[str, str] | None = None,
        using: str | None = None,
        on_parent_close: Literal["cancel", "abandon", "wait"] = "cancel",
    ) -> BoundWorkflow[P, R]:
        """This workflow with options; nothing is written yet.

        key: at most one execution per key in the key's scope; a second start with the same input returns the first.
        key_scope: instead of the workflow's. if_failed: "new" starts a new one if that of the key had no success.
        coalesce: what to do about one that has not begun yet, such as ``Coalesce.skip(key=...)``.
        subject: a saved model instance that it is about. queue, priority: where and how early it runs.
        delay or at: not before. timeout: deadline of the whole execution, from the start.
        labels: short searchable text by name. using: database alias, default ``DURABLE["DATABASE"]``.
        on_parent_close: of a child that is still open then: it is cancelled, goes on, or is waited for.
        """
        options = start_options(
            key=key,
            key_scope=key_scope,
            if_failed=if_failed,
            coalesce=coalesce,
            subject=subject,
            queue=queue,
            priority=priority,
            delay=delay,
            at=at,
            timeout=timeout,
            labels=labels,
            using=using,
            on_parent_close=on_parent_close,
        )
        return BoundWorkflow(self, options)

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> PreparedStart:
        """See ``BoundWorkflow.prepare``."""
        return BoundWorkflow(self, NO_OPTIONS).prepare(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class BoundWorkflow(Generic[P, R]):
    """A workflow with its options, ready to start any number of times."""

    definition: WorkflowDefinition[P, R]
    options: StartOptions

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Started:
        """See ``WorkflowDefinition.start``."""
        return _door().start(self.definition, self.options, args, kwargs)

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> PreparedStart:
        """This start with its arguments, for ``client.start_many`` or ``signal_with_start``; nothing is written yet.

        Raises TypeError for arguments that do not fit the function.
        """
        self.definition.check_arguments(args, kwargs)
        return PreparedStart(self.definition, self.options, args, kwargs)

    def start_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See ``WorkflowDefinition.start_and_wait``; refused inside a transaction before anything is written."""
        _door().refuse_transaction(self.options.using)
        result: R = _door().wait(self.start(*args, **kwargs), timeout_seconds=None, using=self.options.using)
        return result


@dataclass(frozen=True, slots=True)
class PreparedStart:
    """A start that somebody else makes: workflow, options and arguments; made by ``BoundWorkflow.prepare``."""

    definition: WorkflowDefinition[..., Any]
    options: StartOptions
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepDefinition(Named, Generic[P, R]):
    """A step function and how to run it; calling it runs the plain function, as tests do."""

    fn: Callable[P, R]
    name: str
    retry: Retry = NO_RETRY
    timeout_seconds: float | None = None
    atomic: bool = False
    raises: tuple[type[Exception], ...] = ()
    at_most_once: bool = False
    limit: Limit | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(*args, **kwargs)

    def wanted(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Wanted | None:
        """What a body with these arguments needs of the step's limit. Raises InvalidOptionError."""
        return None if self.limit is None else limits.wanted_by_step(self.limit, self.name, self.fn, args, kwargs)


registry: Registry[WorkflowDefinition[..., Any]] = Registry()


class Register(Protocol):
    """What ``@workflow(...)`` gives: a decorator."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[AsyncContext, P], Coroutine[Any, Any, R]], /
    ) -> WorkflowDefinition[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> WorkflowDefinition[P, R]: ...


def workflow(
    name: str,
    *,
    version: int = 1,
    category: str | None = None,
    queue: str = "default",
    priority: PriorityName = "normal",
    timeout: timedelta | float | None = None,
    key_scope: str | None = None,
    key_retention: timedelta | float | None = None,
    on_failure: OnFailure = "compensate",
    on_change: OnChange = "park",
    retention: Retention | timedelta | None = None,
    concurrency: Limit | Iterable[Limit] | None = None,
    rate: Rate | None = None,
    schedule: Declared | Iterable[Declared] | None = None,
) -> Register:
    """Register a function, plain or ``async def``, as a durable workflow.

    name, version: wire format, stored with every execution; an execution is replayed only by code of its version.
    category: a name to group it under in lists, default the label of its app.
    queue, priority, timeout: defaults for its executions.
    key_scope: where its keys are unique; workflows that name one scope share their keys. Default: the name.
    key_retention: how long after the end of an execution its key stays taken, default ``DURABLE["KEY_RETENTION"]``.
    on_failure: what becomes of the completed steps that have ``compensate=`` when it fails, is cancelled or passes its
    deadline: "compensate" undoes them in reverse order, "leave" leaves them.
    on_change: how calls are matched with what other code has recorded: in order ("park") or by name ("tolerate").
    retention: how long its executions are kept after their end; None: as ``DURABLE["RETENTION"]`` says.
    concurrency, rate: how many of its executions may be under way at once, how many may begin in a time.
    schedule: when it is started by itself, kept in step with the database by ``migrate``.
    """
    options = workflow_options(
        name=name,
        version=version,
        category=category,
        queue=queue,
        priority=priority,
        timeout=timeout,
        key_scope=key_scope,
        key_retention=key_retention,
        on_failure=on_failure,
        on_change=on_change,
        retention=retention,
    )
    return partial(_register, options=options, concurrency=concurrency, rate=rate, schedule=schedule)  # type: ignore[return-value]


def _register(
    fn: Callable[..., Any],
    *,
    options: Mapping[str, Any],
    concurrency: Limit | Iterable[Limit] | None,
    rate: Rate | None,
    schedule: Declared | Iterable[Declared] | None,
) -> WorkflowDefinition[..., Any]:
    signature = signatures.checked(fn, options["on_change"])
    definition: WorkflowDefinition[..., Any] = WorkflowDefinition(
        fn=fn,
        signature=signature,
        arity=signatures.arity(signature),
        limits=limits.checked(options["name"], signature, concurrency, rate),
        schedules=specs_of(options["name"], schedule),
        **options,
    )
    for spec in definition.schedules:
        try:
            definition.check_arguments(tuple(spec.args), spec.kwargs or {})
        except TypeError as error:
            raise TypeError(f"schedule= of workflow {definition.name!r}: {error}; give args= or kwargs=.") from None
    codec.register_annotations(fn)
    registry.add(definition)
    return definition


@overload
def step(fn: Callable[P, R], /) -> StepDefinition[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry = NO_RETRY,
    timeout: timedelta | float | None = None,
    atomic: bool = False,
    raises: tuple[type[Exception], ...] = (),
    at_most_once: bool = False,
    limit: Limit | None = None,
) -> Callable[[Callable[P, R]], StepDefinition[P, R]]: ...
def step(fn: Any = None, /, *, name: str | None = None, timeout: Any = None, **options: Any) -> Any:
    """Say how a function runs as a step: ``@step`` or ``@step(retry=..., ...)``.

    name: default id of its checkpoints, default the function's name. retry: default one attempt.
    timeout: per attempt; a running body is abandoned, an atomic one is checked before it commits.
    atomic: the body's ORM writes and the checkpoint commit together. raises: business errors, recorded, not retried,
    raised again as themselves. at_most_once: never started twice; StepInterrupted if its outcome is unknown.
    limit: how many of its bodies may run at one time, of all executions.
    """
    if fn is not None:
        return define_step(fn)
    return lambda body: define_step(body, name=name, timeout=timeout, **options)


def define_step(fn: Callable[..., Any], *, name: str | None = None, timeout: Any = None, **options: Any) -> Any:
    """Check the options of ``@step`` together and freeze them."""
    seconds = check_timeout(timeout)
    step_id = check_step_id(name or getattr(fn, "__name__", ""))
    definition: StepDefinition[..., Any] = StepDefinition(fn=fn, name=step_id, timeout_seconds=seconds, **options)
    if not isinstance(definition.retry, Retry):
        raise InvalidOptionError(f"retry={definition.retry!r}: give a Retry(...).")
    if not isinstance(definition.raises, tuple) or not all(
        isinstance(error, type) and issubclass(error, Exception) for error in definition.raises
    ):
        raise InvalidOptionError(f"raises={definition.raises!r}: give a tuple of exception classes.")
    if definition.at_most_once and (definition.retry.max_attempts != 1 or definition.atomic):
        raise InvalidOptionError("at_most_once= goes with neither retry= nor atomic=: it is never started again.")
    limits.checked_for_step(fn, definition.limit)
    if definition.atomic and inspect.iscoroutinefunction(fn):
        raise InvalidOptionError("atomic= needs a plain function: Django has no transactions in async code.")
    codec.register_annotations(fn)
    return replace(definition)
