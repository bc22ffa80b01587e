"""Step bodies: what may be one, and how it is called.

Plain functions, ``@step`` functions, ``async def`` functions, Celery tasks and ``django.tasks`` tasks all run here,
in the worker that holds the execution; a task object is a function with a name, nothing is enqueued.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections

from django_durable.definitions import StepDefinition
from django_durable.exceptions import InvalidOptionError, StepTimedOut
from django_durable.names import check_step_id
from django_durable.running import StepInfo, running_step


def as_step(body: Any) -> StepDefinition[..., Any]:
    """The definition of anything that ``ctx.step`` accepts; without ``@step`` one attempt, no timeout."""
    if isinstance(body, StepDefinition):
        return body
    if _is_django_task(body):
        if getattr(body, "takes_context", False):
            raise InvalidOptionError(f"Task {body.name!r} takes a task context, which a step has not; call a function.")
        return StepDefinition(fn=body.call, name=_short_name(body.name))
    if _is_celery_task(body):
        return StepDefinition(fn=body, name=_short_name(body.name))
    name = getattr(body, "__name__", "") or getattr(getattr(body, "func", None), "__name__", "")
    return StepDefinition(fn=body, name=name)


def default_step_id(definition: StepDefinition[..., Any]) -> str:
    """The body's own name. Raises InvalidOptionError when it has none that can be stored."""
    try:
        return check_step_id(definition.name)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{error} Name the step: ctx.step('my-id', function, ...).") from None


def call(definition: StepDefinition[..., Any], args: Any, kwargs: Any, *, info: StepInfo, using: str) -> Any:
    """Run a body with ``current_step()`` set. Raises whatever it raises, and StepTimedOut.

    With a timeout a plain body runs in a thread with its own database connections and is abandoned when time is
    up: Python cannot stop it, but nothing it returns later is used. Inside a transaction (atomic steps, tests)
    it must share the connection, so there the time is checked when it returns.
    """
    marker = running_step.set(info)
    try:
        if definition.timeout_seconds is None or connections[using].in_atomic_block:
            return _plain(definition.fn, args, kwargs)
        return _in_thread(definition, args, kwargs)
    finally:
        running_step.reset(marker)


def time_out(definition: StepDefinition[..., Any]) -> StepTimedOut:
    return StepTimedOut(definition.name, "StepTimedOut", f"took longer than {definition.timeout_seconds:g} s")


def _plain(fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if inspect.iscoroutinefunction(fn):
        try:
            return async_to_sync(fn)(*args, **kwargs)
        except asyncio.CancelledError as error:  # a BaseException, which would end the worker's loop
            raise RuntimeError("The step's coroutine was cancelled.") from error
    return fn(*args, **kwargs)


def _in_thread(definition: StepDefinition[..., Any], args: Any, kwargs: Any) -> Any:
    outcome: Future[Any] = Future()

    def work() -> None:
        try:
            outcome.set_result(_plain(definition.fn, args, kwargs))
        except BaseException as error:  # the waiting thread raises it
            outcome.set_exception(error)
        finally:
            connections.close_all()

    inherited = contextvars.copy_context()
    threading.Thread(target=inherited.run, args=(work,), name=f"step {definition.name}", daemon=True).start()
    try:
        return outcome.result(timeout=definition.timeout_seconds)
    except TimeoutError:
        if outcome.done():  # the body's own TimeoutError
            raise
        raise time_out(definition) from None


def _is_celery_task(body: Any) -> bool:
    return hasattr(body, "apply_async") and hasattr(body, "run")


def _is_django_task(body: Any) -> bool:
    return hasattr(body, "enqueue") and hasattr(body, "call") and hasattr(body, "func")


def _short_name(name: str) -> str:
    return name.rpartition(".")[2]
