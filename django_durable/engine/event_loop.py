"""The event loop of one async workflow: callbacks and tasks in the order in which they were asked for, nothing else.

It has no clock, no threads and no sockets, so what runs next depends on nothing but the calls before it: the same
durable outcomes in the same order make the same tasks resume in the same order, in every process. What would bring in
the outside is refused with what to use instead.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from typing import Any, NoReturn

from django_durable.engine.matching import Matcher
from django_durable.exceptions import ControlFlow, InvalidOptionError

logger = logging.getLogger("django_durable.workflow")

_INSTEAD = {
    "time": "there is no clock; await ctx.now()",
    "call_later": "use ctx.sleep, the timeout= of a durable call, or ctx.race",
    "call_at": "use ctx.sleep, the timeout= of a durable call, or ctx.race",
    "run_in_executor": "threads, and the async ORM which uses them, belong in a step",
    "call_soon_threadsafe": "nothing may come from other threads but through a signal",
}


class WorkflowTask(asyncio.Task[Any]):
    """A task with a history of its own. number: in the order of creation."""

    _log_destroy_pending: bool  # asyncio's

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], *, number: int, scope: Matcher, loop: WorkflowLoop, context: Any
    ) -> None:
        self.number = number
        self.scope = scope
        super().__init__(coroutine, loop=loop, context=context)
        self._log_destroy_pending = False  # a pass that waits leaves its tasks

    def __hash__(self) -> int:
        """Sets of tasks, which asyncio makes and hands out, are in the same order in every process."""
        return self.number


class WorkflowLoop(asyncio.AbstractEventLoop):
    """open_scope: called with the coroutine of each new task; gives the scope of its history, or raises.

    task_ended: called before anybody else hears of it.
    """

    def __init__(
        self,
        open_scope: Callable[[Coroutine[Any, Any, Any]], Matcher],
        task_ended: Callable[[WorkflowTask], None],
    ) -> None:
        self._open_scope = open_scope
        self._task_ended = task_ended
        self._ready: deque[asyncio.Handle] = deque()
        self._created = 0
        self.unfinished: dict[WorkflowTask, None] = {}  # in the order of creation

    def run_ready(self, *, until: Callable[[], bool]) -> None:
        """Run what is ready, and what that makes ready. The database is not to be used meanwhile; Django refuses it."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self._ready and not until():
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(outer)

    def outside(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call from a coroutine that may use the database."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return call(*args, **kwargs)
        finally:
            asyncio._set_running_loop(outer)

    # -- what asyncio asks of a loop ---------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Variables | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Variables | None = None, eager_start: bool | None = None
    ) -> WorkflowTask:
        """name: asyncio's own, for people; the history has the name of the coroutine."""
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        if eager_start:
            coro.close()
            raise InvalidOptionError("An async workflow begins its tasks in order: leave out eager_start.")
        scope = self._open_scope(coro)
        self._created += 1
        task = WorkflowTask(coro, number=self._created, scope=scope, loop=self, context=context)
        if name is not None:
            task.set_name(name)
        self.unfinished[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: Any) -> None:
        del self.unfinished[task]
        self._task_ended(task)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ControlFlow):
            # No traceback: this may run in the garbage collector, in whatever that has interrupted.
            logger.warning("%s: %r", context.get("message"), error)


def is_unordered() -> bool:
    """Whether asyncio is going through a set of what it was given, which is in the order of memory addresses."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") in ("asyncio", __package__):
        if frame.f_code.co_qualname.startswith(("as_completed", "_AsCompletedIterator")):
            return True
        frame = frame.f_back
    return False


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        instead = _INSTEAD.get(name, "what reaches outside belongs in a step")
        raise InvalidOptionError(f"loop.{name}() is not for async workflows: {instead}.")

    return refuse


for _name in vars(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(WorkflowLoop):
        setattr(WorkflowLoop, _name, _refusal(_name))
