"""Running executions inside a test: no worker, no broker, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.conf import settings
from django.db.models import Min
from django.test import override_settings

from django_durable import client, clock
from django_durable.conf import get_settings
from django_durable.engine import bodies, queues, slots, snapshot, worker
from django_durable.engine.schedules import firing
from django_durable.models import Delivery, Schedule, Timer

MOST_PASSES = 10_000
Stub = Callable[..., Any]


class NotIdleError(AssertionError):
    """Something stays due for ever, or what the test wants a result of still waits."""


class DurableKit:
    """Drives every execution in the database. The clock stands still until ``advance`` moves it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stubs: dict[str, Stub] = {}
        self._real_call = bodies.call
        self.clock: clock.FrozenClock

    def __enter__(self) -> DurableKit:
        given = getattr(settings, "DURABLE", {})
        # No test of a project may reach those whom it tells.
        polling = {**given, "DISPATCHER": "django_durable.dispatch.NullDispatcher", "WEBHOOK_QUEUE": None}
        self._stack.enter_context(override_settings(DURABLE=polling))
        self.clock = self._stack.enter_context(clock.frozen())
        self._stack.enter_context(mock.patch.object(bodies, "call", self._call))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- running -----------------------------------------------------------------------------------

    def run_until_idle(self) -> int:
        """Fire, advance and deliver everything that is due until nothing is.

        Returns how many passes, deliveries and schedules that were fired.
        """
        passes = 0
        while worked := self._fire() + sum(self._drain(queue) for queue in queues.known_queues()):
            passes += worked
            if passes > MOST_PASSES:
                raise NotIdleError(f"Still not idle after {passes} passes; is there a loop without a wait?")
        return passes

    def advance(self, by: timedelta) -> int:
        """Let time pass: every timer and schedule on the way fires at its own time, in order.

        Returns as ``run_until_idle``. Schedules act as if a poller were there all the time, so none has to catch up.
        """
        until = self.clock.now() + by
        passes = self.run_until_idle()
        while (next_at := self._next_due_at()) is not None and next_at <= until:
            self.clock.move_to(next_at)
            worked = self.run_until_idle()
            if not worked:
                raise NotIdleError(f"A timer due at {next_at} is on a queue that nobody reads.")
            passes += worked
        self.clock.move_to(until)
        return passes + self.run_until_idle()

    def run(self, execution: client.Target) -> Any:
        """Run until idle and return the result, or raise as ``client.result`` does; NotIdleError if it still waits."""
        self.run_until_idle()
        found = client.inspect(execution)
        if found.finished_at is None:
            until = f" until {found.waiting_until}" if found.waiting_until else ""
            raise NotIdleError(
                f"{found.workflow} {found.id} is {found.status}, waiting for {found.waiting_for}{until}."
            )
        return client.result(execution)

    def signal(self, execution: client.Target, signal: Any, payload: object = None) -> None:
        """Send a signal and let everything it wakes run."""
        client.signal(execution, signal, payload)
        self.run_until_idle()

    def update(self, execution: client.Target, name: str, payload: object = None) -> Any:
        """Send an update, let everything it wakes run, and return the reply or raise as ``client.update`` does."""
        request_id = client.send_update(execution, name, payload)
        self.run_until_idle()
        return client.update_result(execution, request_id, timeout=0)

    def inspect(self, execution: client.Target) -> snapshot.Snapshot:
        return client.inspect(execution)

    # -- stubs -------------------------------------------------------------------------------------

    @contextmanager
    def stub(self, step: Any, result: Any = None, *, raises: Exception | None = None) -> Iterator[list[Any]]:
        """Replace a step's body; its result is still recorded and replayed. Yields the list of calls.

        step: the function, or the step id. result: a value, or a function that is called instead. raises: an error.
        """
        name = step if isinstance(step, str) else bodies.as_step(step).name
        calls: list[Any] = []

        def body(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            if raises is not None:
                raise raises
            return result(*args, **kwargs) if callable(result) else result

        self._stubs[name] = body
        try:
            yield calls
        finally:
            self._stubs.pop(name, None)

    def _call(self, definition: Any, args: Any, kwargs: Any, **rest: Any) -> Any:
        stub = self._stubs.get(rest["info"].step_id) or self._stubs.get(definition.name)
        return stub(*args, **kwargs) if stub else self._real_call(definition, args, kwargs, **rest)

    # -- inside ------------------------------------------------------------------------------------

    def _drain(self, queue: str) -> int:
        using = get_settings().database
        # In a TestCase nothing is committed, so what is done after a commit is done here.
        return worker.drain(queue, using=using) + slots.mend(using=using)

    def _fire(self) -> int:
        using = get_settings().database
        return firing.fire_due(using=using) if firing.has_work(using=using) else 0

    def _next_due_at(self) -> datetime | None:
        using, now = get_settings().database, self.clock.now()
        waiting = (model.objects.using(using).filter(due_at__gt=now) for model in (Timer, Delivery, Schedule))
        found = [rows.aggregate(first=Min("due_at"))["first"] for rows in waiting]
        return min((at for at in found if at is not None), default=None)


class DurableTestMixin:
    """For ``unittest``: gives every test ``self.durable``. Put it before ``TestCase`` in the bases."""

    durable: DurableKit

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.durable = DurableKit()
        self.durable.__enter__()
        self.addCleanup(self.durable.__exit__)  # type: ignore[attr-defined]
