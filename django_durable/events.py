"""Events out of workflows: their types, and who receives them.

A stored receiver's name is looked up here and nowhere else. What keeps and delivers them is ``engine.outbox``'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.messages import Message
from django_durable.names import check_name
from django_durable.retry import Retry

T = TypeVar("T")
R = TypeVar("R")

# 20 attempts within some eight hours: an outage of the other side should not need a person.
DELIVERY_RETRY = Retry(max_attempts=20, maximum_seconds=3600)


class EventType(Message[T]):
    """A named event out of workflows, with the class of its payload.

    payload: a dataclass, an Enum or a pydantic model; None for plain JSON values. It is registered with the codec.
    """

    noun = "Event"

    @overload
    def __init__(self, name: str, payload: type[T]) -> None: ...
    @overload  # else a type checker would ask the user to annotate one without a class
    def __init__(self: EventType[Any], name: str, payload: None = None) -> None: ...
    def __init__(self, name: str, payload: type[T] | None = None) -> None:
        super().__init__(name, payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInfo(Generic[T]):
    """What a receiver of ``@on_event`` is given."""

    id: UUID  # the same at every delivery of this event, to every receiver: by it repeats are recognised
    name: str
    payload: T
    execution_id: UUID
    attempt: int  # of this delivery, from 1; interrupted ones count


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A registered receiver of one event."""

    event: str
    name: str
    retry: Retry
    fn: Callable[[EventInfo[Any]], object]


class Receivers:
    """Receivers by event and name."""

    def __init__(self) -> None:
        self._by_event: dict[str, dict[str, Receiver]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_event)

    def add(self, receiver: Receiver) -> None:
        named = self._by_event.setdefault(receiver.event, {})
        other = named.get(receiver.name)
        if other is not None and _place(other.fn) != _place(receiver.fn):
            raise ConfigurationError(
                f"Event {receiver.event!r} has two receivers named {receiver.name!r}: {_place(other.fn)} and "
                f"{_place(receiver.fn)}. Give one of them another name=."
            )
        named[receiver.name] = receiver

    def of(self, event: str) -> list[Receiver]:
        """All of one event, in the order of their registration."""
        return list(self._by_event.get(event, {}).values())

    def find(self, event: str, name: str) -> Receiver | None:
        return self._by_event.get(event, {}).get(name)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget on exit what is registered inside; for tests."""
        before = {event: dict(named) for event, named in self._by_event.items()}
        try:
            yield
        finally:
            self._by_event = before


receivers = Receivers()


@overload
def on_event(
    event: EventType[T], *, name: str | None = None, retry: Retry = DELIVERY_RETRY
) -> Callable[[Callable[[EventInfo[T]], R]], Callable[[EventInfo[T]], R]]: ...
@overload
def on_event(
    event: str, *, name: str | None = None, retry: Retry = DELIVERY_RETRY
) -> Callable[[Callable[[EventInfo[Any]], R]], Callable[[EventInfo[Any]], R]]: ...
def on_event(event: EventType[Any] | str, *, name: str | None = None, retry: Retry = DELIVERY_RETRY) -> Any:
    """Register a function of an ``EventInfo`` as a receiver of an event; found in ``workflows.py`` like workflows are.

    It is called at least once for each event that is emitted while it is registered, after the commit, by a worker and
    outside any transaction; what it raises is retried. It should take less than a minute: then it may be called again.
    name: wire format, stored with every delivery; default the function's name. retry: default 20 attempts within
    some eight hours. Raises ConfigurationError for a second receiver of that event and name.
    """
    on = event_name(event)
    if not isinstance(retry, Retry):
        raise InvalidOptionError(f"retry={retry!r}: give a Retry(...).")

    def register(fn: Callable[[EventInfo[Any]], R]) -> Callable[[EventInfo[Any]], R]:
        _check_function(fn)
        named = check_name(getattr(fn, "__name__", "") if name is None else name, "Receiver name")
        receivers.add(Receiver(event=on, name=named, retry=retry, fn=fn))
        return fn

    return register


def check_event(event: EventType[Any] | str, payload: object) -> str:
    """The name of an event, once its payload has passed the check of its type."""
    if isinstance(event, EventType):
        event.check(payload)
    return event_name(event)


def event_name(event: EventType[Any] | str) -> str:
    return event.name if isinstance(event, EventType) else check_name(event, "Event name")


def _check_function(fn: Callable[..., object]) -> None:
    if not callable(fn) or inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        raise ConfigurationError(f"Receiver {fn!r} must be a plain function of an EventInfo.")
    try:
        inspect.signature(fn).bind(None)
    except TypeError:
        raise ConfigurationError(f"Receiver {_place(fn)} must take one argument, the EventInfo.") from None


def _place(fn: Callable[..., object]) -> str:
    return f"{fn.__module__}.{fn.__qualname__}"
