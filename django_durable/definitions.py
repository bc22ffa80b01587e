"""@workflow and @step: frozen definitions, and the registry that finds them by stable name.

A stored name is looked up here and nowhere else: nothing is ever imported because a row or a message says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from django_durable import codec
from django_durable.clock import to_instant, to_seconds
from django_durable.context import Context
from django_durable.describe import Shape, WorkflowInfo
from django_durable.exceptions import ConfigurationError, InvalidOptionError, UnknownWorkflowError
from django_durable.names import Named, check_key, check_name, check_step_id
from django_durable.retry import NO_RETRY, Retry

P = ParamSpec("P")
R = TypeVar("R")
PriorityName = Literal["high", "normal", "low"]
OnFailure = Literal["compensate", "leave"]
OnChange = Literal["park", "tolerate"]
PRIORITIES: tuple[PriorityName, ...] = ("high", "normal", "low")


class Started(Protocol):
    """What ``start()`` returns: an ``Execution`` row, seen from here without importing models."""

    id: UUID
    workflow: str
    status: str
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How to start, apart from the workflow's own arguments; see ``WorkflowDefinition.using``."""

    key: str | None = None
    subject: object | None = None
    queue: str | None = None
    priority: PriorityName | None = None
    delay_seconds: float | None = None
    at: datetime | None = None
    timeout_seconds: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    using: str | None = None


NO_OPTIONS = StartOptions()


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
class WorkflowDefinition(Named, Generic[P, R]):
    """A registered workflow. Call it with a Context to run the plain function, ``start()`` it to make it durable."""

    name: str
    version: int
    category: str | None
    fn: Callable[..., R]
    queue: str
    priority: PriorityName
    timeout_seconds: float | None
    on_failure: OnFailure
    on_change: OnChange
    signature: inspect.Signature  # without ctx
    arity: range  # numbers of positional arguments that fit it by themselves

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(ctx, *args, **kwargs)

    def check_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError for arguments that do not fit the function."""
        if kwargs or len(args) not in self.arity:
            self.signature.bind(*args, **kwargs)

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
        subject: object | None = None,
        queue: str | None = None,
        priority: PriorityName | None = None,
        delay: timedelta | float | None = None,
        at: datetime | None = None,
        timeout: timedelta | float | None = None,
        labels: Mapping[str, str] | None = None,
        using: str | None = None,
    ) -> BoundWorkflow[P, R]:
        """This workflow with options; nothing is written yet.

        key: at most one execution per workflow and key; a second start returns the first.
        subject: a saved model instance that it is about. queue, priority: where and how early it runs.
        delay or at: not before. timeout: deadline of the whole execution, from the start.
        labels: short searchable text by name. using: database alias, default ``DURABLE["DATABASE"]``.
        """
        if delay is not None and at is not None:
            raise InvalidOptionError("Give delay= or at=, not both.")
        return BoundWorkflow(
            self,
            StartOptions(
                key=None if key is None else check_key(key, "key"),
                subject=subject,
                queue=None if queue is None else check_name(queue, "Queue"),
                priority=None if priority is None else _check_priority(priority),
                delay_seconds=None if delay is None else to_seconds(delay, "delay"),
                at=None if at is None else to_instant(at, "at"),
                timeout_seconds=_check_timeout(timeout),
                labels=_check_labels({} if labels is None else labels),
                using=using,
            ),
        )


@dataclass(frozen=True, slots=True)
class BoundWorkflow(Generic[P, R]):
    """A workflow with its options, ready to start any number of times."""

    definition: WorkflowDefinition[P, R]
    options: StartOptions

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Started:
        """See ``WorkflowDefinition.start``."""
        return _door().start(self.definition, self.options, args, kwargs)

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> PreparedStart:
        """This start with its arguments, for ``client.signal_with_start``; nothing is written yet.

        Raises TypeError for arguments that do not fit the function.
        """
        self.definition.check_arguments(args, kwargs)
        return PreparedStart(self.definition, self.options, args, kwargs)

    def start_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """See ``WorkflowDefinition.start_and_wait``; refused inside a transaction before anything is written."""
        _door().refuse_transaction(self.options.using)
        started = self.start(*args, **kwargs)
        result: R = _door().wait(started, timeout_seconds=None, using=self.options.using)
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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fn(*args, **kwargs)


class Registry:
    """Workflows by name and version."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, WorkflowDefinition[..., Any]]] = {}

    def add(self, definition: WorkflowDefinition[..., Any]) -> None:
        versions = self._versions.setdefault(definition.name, {})
        other = versions.get(definition.version)
        if other is not None and _place(other.fn) != _place(definition.fn):
            raise ConfigurationError(
                f"Workflow {definition.name!r} version {definition.version} is defined twice: in "
                f"{_place(other.fn)} and in {_place(definition.fn)}. Rename one, or raise its version=."
            )
        versions[definition.version] = definition

    def find(self, name: str, version: int | None = None) -> WorkflowDefinition[..., Any]:
        """The newest version, or exactly the one asked for. Raises UnknownWorkflowError."""
        versions = self._versions.get(name, {})
        if version is None and versions:
            return versions[max(versions)]
        if version is None or version not in versions:
            raise UnknownWorkflowError(name, version)
        return versions[version]

    def knows(self, name: str, version: int) -> bool:
        return version in self._versions.get(name, {})

    def workflows(self) -> list[WorkflowInfo]:
        """What is registered, by name and version: for lists, forms and other people's code."""
        return sorted(map(WorkflowInfo.of, self), key=lambda info: (info.name, info.version))

    def __iter__(self) -> Iterator[WorkflowDefinition[..., Any]]:
        for versions in self._versions.values():
            yield from versions.values()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget on exit what is registered inside; for tests."""
        before = {name: dict(versions) for name, versions in self._versions.items()}
        try:
            yield
        finally:
            self._versions = before


registry = Registry()


def workflow(
    name: str,
    *,
    version: int = 1,
    category: str | None = None,
    queue: str = "default",
    priority: PriorityName = "normal",
    timeout: timedelta | float | None = None,
    on_failure: OnFailure = "compensate",
    on_change: OnChange = "park",
) -> Callable[[Callable[Concatenate[Context, P], R]], WorkflowDefinition[P, R]]:
    """Register a function as a durable workflow.

    name, version: wire format, stored with every execution; an execution is replayed only by code of its version.
    category: a name to group it under in lists, default the label of its app.
    queue, priority, timeout: defaults for its executions.
    on_failure: what becomes of the completed steps that have ``compensate=`` when it fails, is cancelled or passes its
    deadline: "compensate" undoes them in reverse order, "leave" leaves them.
    on_change: how calls are matched with what other code has recorded: in order ("park") or by name ("tolerate").
    """
    check_name(name, "Workflow name")
    if category is not None:
        check_name(category, "Category")
    check_name(queue, "Queue")
    _check_version(version)
    _check_priority(priority)
    seconds = _check_timeout(timeout)
    _check_choice("on_failure", on_failure, ("compensate", "leave"))
    _check_choice("on_change", on_change, ("park", "tolerate"))

    def register(fn: Callable[Concatenate[Context, P], R]) -> WorkflowDefinition[P, R]:
        signature = _signature_without_context(fn)
        definition: WorkflowDefinition[P, R] = WorkflowDefinition(
            name=name,
            version=version,
            category=category,
            fn=fn,
            queue=queue,
            priority=priority,
            timeout_seconds=seconds,
            on_failure=on_failure,
            on_change=on_change,
            signature=signature,
            arity=_arity(signature),
        )
        codec.register_annotations(fn)
        registry.add(definition)
        return definition

    return register


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
) -> Callable[[Callable[P, R]], StepDefinition[P, R]]: ...
def step(fn: Any = None, /, *, name: str | None = None, timeout: Any = None, **options: Any) -> Any:
    """Say how a function runs as a step: ``@step`` or ``@step(retry=..., ...)``.

    name: default id of its checkpoints, default the function's name. retry: default one attempt.
    timeout: per attempt; a running body is abandoned, an atomic one is checked before it commits.
    atomic: the body's ORM writes and the checkpoint commit together. raises: business errors, recorded, not retried,
    raised again as themselves. at_most_once: never started twice; StepInterrupted if its outcome is unknown.
    """
    if fn is not None:
        return define_step(fn)
    return lambda body: define_step(body, name=name, timeout=timeout, **options)


def define_step(fn: Callable[..., Any], *, name: str | None = None, timeout: Any = None, **options: Any) -> Any:
    """Check the options of ``@step`` together and freeze them."""
    seconds = _check_timeout(timeout)
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
    if definition.atomic and inspect.iscoroutinefunction(fn):
        raise InvalidOptionError("atomic= needs a plain function: Django has no transactions in async code.")
    codec.register_annotations(fn)
    return replace(definition)


def _signature_without_context(fn: Callable[..., Any]) -> inspect.Signature:
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        raise ConfigurationError(f"Workflow {_place(fn)} must be a plain function; steps may be async.")
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise ConfigurationError(f"Workflow {_place(fn)} must take the context as its first argument.")
    return inspect.Signature(parameters[1:])


def _arity(signature: inspect.Signature) -> range:
    """How many positional arguments are enough and not too many; none at all when others are needed beside them."""
    parameters = signature.parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in required):
        return range(0)
    most = sum(parameter.kind in positional for parameter in parameters)
    return range(sum(parameter.kind in positional for parameter in required), most + 1)


def _place(fn: Callable[..., Any]) -> str:
    return f"{fn.__module__}.{fn.__qualname__}"


def _check_priority(priority: object) -> PriorityName:
    for known in PRIORITIES:
        if priority == known:
            return known
    raise InvalidOptionError(f"priority={priority!r}: give one of {', '.join(PRIORITIES)}.")


def _check_version(version: object) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        raise InvalidOptionError(f"version={version!r}: give a whole number from 1.")


def _check_choice(option: str, given: object, known: tuple[str, str]) -> None:
    if given not in known:
        raise InvalidOptionError(f"{option}={given!r}: give {known[0]!r} or {known[1]!r}.")


def _check_timeout(timeout: timedelta | float | None) -> float | None:
    if timeout is None:
        return None
    seconds = to_seconds(timeout, "timeout")
    if seconds == 0:
        raise InvalidOptionError("timeout=0: give a positive duration, or None for no limit.")
    return seconds


def _check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(labels, Mapping):
        raise InvalidOptionError(f"labels={labels!r}: give a dict of short texts by name.")
    for name, value in labels.items():
        check_name(name, "Label name")
        check_key(value, f"Label {name}")
    return dict(labels)
