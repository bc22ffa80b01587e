"""Telling the rest of the project."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from django_durable.context.runtime import Calls
from django_durable.events import EventType, check_event
from django_durable.names import check_step_id

T = TypeVar("T")


class EventCalls(Calls):
    """``ctx.emit``."""

    @overload
    def emit(self, event: EventType[T], payload: T, *, id: str | None = None) -> None: ...
    @overload
    def emit(self, event: str, payload: object = None, *, id: str | None = None) -> None: ...
    def emit(self, event: EventType[Any] | str, payload: object = None, *, id: str | None = None) -> None:
        """Tell the receivers of ``@on_event`` that something has happened; recorded once, delivered after the commit.

        event: an ``EventType`` or its name. Each receiver that is registered in this process gets it at least once,
        with the same id. It is recorded with what comes next, at the latest before the body of the next step begins.
        id: names the checkpoint, default "emit:" and the event's name.
        Raises CodecError, and InvalidOptionError for a payload of another class; nothing is written then.
        """
        step_id = None if id is None else check_step_id(id)
        self._runtime.emit(step_id, check_event(event, payload), payload)
