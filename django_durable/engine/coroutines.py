"""Async workflows: their coroutines are run here, and every durable call of theirs is made by the synchronous core.

The coroutines know nothing but what their calls return, and the loop resumes them in a fixed order. So the outcomes of
the calls, in the order in which they were handed out, determine everything. That order is recorded: the time at which
a call was completed is later than that of every call before it. A replay hands the recorded outcomes out in this
order, one at a time, and lets the coroutines run until all of them wait before the next. Only then may a call do
something new, and again they run before another. Whatever asyncio makes of it, who is resumed first, which of two was
first done, who is cancelled where, comes out the same.

Each task matches its calls in a scope of its own, like a branch of ``parallel``; that it was created is a call, too.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

from django_durable.context import AsyncContext
from django_durable.engine import fanout, payloads, state
from django_durable.engine.awaitables import DurableCall, discard, source_of_caller
from django_durable.engine.event_loop import WorkflowLoop, WorkflowTask, is_unordered
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import (
    Frontier,
    Leave,
    Leaving,
    Mismatch,
    Park,
    Raised,
    Returned,
    Unrecorded,
    Wants,
    waiting,
)
from django_durable.engine.scopes import Course
from django_durable.engine.unwinding import is_left, plain
from django_durable.exceptions import (
    ControlFlow,
    InvalidOptionError,
    SwallowedControlFlowError,
)
from django_durable.models import Kind

_AT_ONCE = datetime.min.replace(tzinfo=UTC)


def drive(matcher: Matcher, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run an async function in this scope to its end, and all tasks that it created. Raises its error, or Leave."""
    if matcher.shared.on_change != "park":
        raise InvalidOptionError(
            f"{fn!r} is async, and @workflow(on_change={matcher.shared.on_change!r}) matches calls by name. Coroutines "
            "go by the order of their history: leave out on_change, or write a plain function."
        )
    program = _Program(matcher)
    try:
        return program.run(fn, *args, **kwargs)
    except Leave as leave:
        if program.unwind(leave) or not isinstance(leave.why, Park | Wants):
            raise
        raise matcher.leave(Mismatch(SwallowedControlFlowError(f"Suspend ({leave})"))) from None
    except BaseException as error:
        program.unwind(error)
        raise
    finally:
        program.is_over = True


@dataclass(slots=True, eq=False)
class _Pending:
    """A call that a task awaits."""

    call: DurableCall
    scope: Matcher
    future: asyncio.Future[Any]
    is_called_off: bool  # the task was cancelled meanwhile
    outcome: Returned | Raised | Leaving | None = None


class _Program:
    """The coroutines of one function in one pass."""

    def __init__(self, matcher: Matcher) -> None:
        self.root = matcher
        self.shared = matcher.shared
        self.course = Course(matcher.next_recorded, self.shared.keep_order())
        matcher.course = self.course
        # Everything that it has not is a refusal, set on the class.
        self.loop = WorkflowLoop(self._open_scope, self._task_ended)  # type: ignore[abstract]
        self.is_over = False
        self._left: Leave | None = None  # by a coroutine itself
        self._unseen: list[_Pending] = []
        self._recorded: list[tuple[datetime, int, _Pending]] = []  # a heap
        self._new: deque[_Pending] = deque()
        self._parked: list[_Pending] = []
        self._not_awaited: dict[int, str] = {}
        self._dropped: list[str] = []
        self._counted = 0
        self._creators: dict[Matcher, Matcher] = {}  # of the scopes of tasks
        self._has_begun = False
        self._has_called_off = False

    # -- for the context ---------------------------------------------------------------------------

    def later(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DurableCall:
        self._refuse_when_over(name)
        called = attrgetter(name)
        return DurableCall(self, name, lambda ctx: _at_hand(called(ctx)(*args, **kwargs)), source_of_caller(2))

    def _refuse_when_over(self, name: str) -> None:
        if self.is_over:
            self.shared.go_on_leaving()
            raise InvalidOptionError(f"ctx.{name}: this context's function has ended, or waits for a later pass.")

    def told(self, name: str) -> DurableCall:
        self._refuse_when_over(name)
        return DurableCall(self, name, attrgetter(name), source_of_caller(2))

    def at_once(self, name: str) -> Any:
        scope = self._here()
        value = getattr(scope.context(), name)
        return partial(self._make_at_once, scope, value) if inspect.ismethod(value) else value

    def _make_at_once(self, scope: Matcher, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._active(scope):
            return self.loop.outside(method, *args, **kwargs)

    def state_values(self) -> Mapping[str, Any]:
        """All that was changed before the outcome that was handed out last: other tasks may have gone on since."""
        scope = self._here()
        with self._active(scope):
            return state.values(scope)

    @contextmanager
    def _active(self, scope: Matcher) -> Iterator[None]:
        before, self.shared.active = self.shared.active, scope
        try:
            yield
        finally:
            self.shared.active = before

    def _here(self) -> Matcher:
        task = asyncio.current_task(self.loop)
        return task.scope if isinstance(task, WorkflowTask) else self.root

    # -- for the calls -----------------------------------------------------------------------------

    def made(self, call: DurableCall) -> int:
        self._not_awaited[id(call)] = repr(call)
        self._counted += 1
        return self._counted

    def begun(self, call: DurableCall) -> None:
        del self._not_awaited[id(call)]

    def dropped(self, call: DurableCall) -> None:
        """Python has found that nobody can await it any more."""
        self._dropped.append(self._not_awaited.pop(id(call)))

    def wait_for(self, call: DurableCall) -> Generator[Any, None, Any]:
        """Hand the call over until its outcome is here; cancelled meanwhile, until that is recorded."""
        self.shared.check_thread()
        self.shared.refuse_while_leaving()
        task = asyncio.current_task(self.loop) if asyncio._get_running_loop() is self.loop else None
        if not isinstance(task, WorkflowTask):
            raise InvalidOptionError(
                f"{call!r} is awaited outside the coroutines that its context was given to: in another workflow or "
                "branch, a step, a thread, or a task that asyncio.create_task did not make."
            )
        is_called_off = False
        while True:
            pending = _Pending(call, task.scope, self.loop.create_future(), is_called_off)
            self._unseen.append(pending)
            try:
                yield from pending.future
                break
            except asyncio.CancelledError:
                if not pending.future.cancelled():
                    raise  # it was cancelled after the outcome had come
                is_called_off = True
        if is_called_off:
            raise asyncio.CancelledError
        if isinstance(pending.outcome, Raised):
            raise pending.outcome.error
        assert isinstance(pending.outcome, Returned)
        return pending.outcome.value

    # -- for the loop ------------------------------------------------------------------------------

    def _open_scope(self, coroutine: Coroutine[Any, Any, Any]) -> Matcher:
        """Record that a task was created, together with whatever is recorded next."""
        if not self._has_begun:
            self._has_begun = True
            return self.root
        creator = asyncio.current_task(self.loop)
        try:
            self.shared.refuse_while_leaving()
            if not isinstance(creator, WorkflowTask):
                raise InvalidOptionError("Create tasks in the workflow's coroutines, not in callbacks.")
            if not isinstance(coroutine, DurableCall) and is_unordered():
                raise InvalidOptionError("asyncio.as_completed begins coroutines in no fixed order: give it tasks.")
            scope: Matcher = self.loop.outside(self._enter_task, creator.scope, coroutine)
        except BaseException as error:
            discard(coroutine)
            if isinstance(error, Leave):
                self._left = error
            raise
        self._creators[scope] = creator.scope
        return scope

    def _enter_task(self, creator: Matcher, coroutine: Coroutine[Any, Any, Any]) -> Matcher:
        with self._active(creator):
            name = getattr(coroutine, "__name__", "")
            call = creator.enter(Kind.TASK, f"task:{name}" if name.isidentifier() and name.isascii() else "task")
            if call.recorded is None:
                creator.defer(call, call.checkpoint(result=payloads.dump(None), finished_at=creator.claim.now()))
        return creator.task(call)

    def _task_ended(self, task: WorkflowTask) -> None:
        """Before anybody hears of it. What has interrupted it has interrupted who created it, as with branches."""
        creator = self._creators.get(task.scope)
        if creator is None or self.is_over:
            return
        creator.interrupted = creator.interrupted or task.scope.interrupted
        ended = task.scope.ended(Returned(None))
        if not isinstance(ended, Returned | Raised):
            self._left = self.root.leave(ended)

    # -- running -----------------------------------------------------------------------------------

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async def main() -> Any:
            value = fn(AsyncContext(self), *args, **kwargs)
            return await value if inspect.isawaitable(value) else value

        task = self.loop.create_task(main())
        while True:
            self._run_ready()
            if not self.loop.unfinished:
                return self._result(task)
            if task.done() and self.root.interrupted is None and not self._has_called_off:
                self._call_off_the_rest()
            elif not self._hand_out_next():
                self._nothing_waits(task)

    def _run_ready(self) -> None:
        self.loop.run_ready(until=lambda: self._left is not None)
        if self._left is not None:
            raise self._left
        if self._dropped:
            raise self._misuse(f"{self._dropped[0]} was not awaited: write `await` before it.")

    def _hand_out_next(self) -> bool:
        """One outcome: the earliest recorded one, else the first call that can do something new. False: no call waits.

        Leaves when all of them wait.
        """
        self._look_up()
        while self._recorded:
            completed_at, _, pending = heappop(self._recorded)
            if not pending.future.done() and self._make(pending, only_recorded=True):
                self._hand_out(pending, completed_at)
                return True
        while self._new:
            if self.shared.only_recorded:
                raise self.root.leave(Unrecorded())
            pending = self._new.popleft()
            if pending.future.done():
                continue  # cancelled
            if self._make(pending):
                self._hand_out(pending, self.shared.journal.latest or _AT_ONCE)
                return True
            self._parked.append(pending)
        wait = waiting(pending.outcome for pending in self._parked if not pending.future.done())
        if wait is not None:
            raise self.root.leave(wait)
        return False

    def _hand_out(self, pending: _Pending, completed_at: datetime) -> None:
        if completed_at != _AT_ONCE:
            self.course.until = max(self.course.until or completed_at, completed_at)
        pending.future.set_result(None)

    def _look_up(self) -> None:
        """Whether what is newly awaited is recorded, and when it was completed."""
        unseen, self._unseen = self._unseen, []
        for pending in unseen:
            completed_at = self._completed_at(pending)
            if completed_at is None:
                self._new.append(pending)
            else:
                self._counted += 1
                heappush(self._recorded, (completed_at, self._counted, pending))

    def _completed_at(self, pending: _Pending) -> datetime | None:
        """When all of the call was, that may be a whole part with branches; None if there is more to do.

        It is made to learn it, and made again when its turn comes: what it does to the others belongs there.
        """
        shared = self.shared
        before = shared.latest_seen, shared.only_first
        shared.latest_seen, shared.only_first = None, pending.call.is_of_one_checkpoint
        bookmark = pending.scope.bookmark()
        try:
            if self._make(pending, only_recorded=True):
                pending.scope.go_back(bookmark)
                return shared.latest_seen or _AT_ONCE
            return shared.latest_seen if shared.only_first else None
        finally:
            seen = [time for time in (before[0], shared.latest_seen) if time is not None]
            shared.latest_seen, shared.only_first = max(seen, default=None), before[1]

    def _make(self, pending: _Pending, *, only_recorded: bool = False) -> bool:
        """Have the core make the call. False: it is not recorded, or waits; it will be made again."""
        scope, shared = pending.scope, self.shared
        bookmark, told = scope.bookmark(), (scope.is_called_off, scope.interrupted)
        before = shared.active, shared.source, shared.only_recorded
        shared.active, shared.source = scope, pending.call.source
        shared.only_recorded = shared.only_recorded or only_recorded
        if pending.is_called_off:  # another interruption than one that it was told before
            scope.is_called_off, scope.interrupted = True, None
        try:
            pending.outcome = Returned(pending.call.make(scope.context()))
        except Leave as leave:
            shared.leaving = None
            pending.outcome = leave.why
        except (Exception, ControlFlow) as error:
            pending.outcome = Raised(error)
        finally:
            shared.active, shared.source, shared.only_recorded = before
        if pending.is_called_off:
            scope.is_called_off, scope.interrupted = told
        if isinstance(pending.outcome, Park | Wants | Frontier | Unrecorded):
            scope.go_back(bookmark)
            return False
        if not isinstance(pending.outcome, Returned | Raised):
            raise self.root.leave(pending.outcome)
        return True

    # -- ending ------------------------------------------------------------------------------------

    def _call_off_the_rest(self) -> None:
        """What still runs when the function has ended is cancelled, as ``asyncio.run`` does."""
        self._has_called_off = True
        for task in list(self.loop.unfinished):
            task.cancel()

    def _nothing_waits(self, main: asyncio.Task[Any]) -> None:
        if main.done() and not self._has_called_off:
            self._call_off_the_rest()
            return
        tasks = ", ".join(repr(task.get_coro()) for task in self.loop.unfinished)
        raise self._misuse(f"{tasks}: what is awaited there will never come, because no durable call brings it.")

    def _result(self, main: asyncio.Task[Any]) -> Any:
        if main.cancelled():
            raise RuntimeError("The coroutine of the workflow was cancelled by its own code.")
        error = main.exception()
        if error is not None:
            raise plain(error)
        for call in self._not_awaited.values():
            raise self._misuse(f"{call} was not awaited: write `await` before it, or close() it.")
        return main.result()

    def _misuse(self, what: str) -> Leave:
        return self.root.leave(Mismatch(InvalidOptionError(what)))

    def unwind(self, leave: BaseException) -> bool:
        """Leave all coroutines that have not ended, the latest first. False: one did not let itself be left."""
        self.is_over = True
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        try:
            holding = [task for task in reversed(self.loop.unfinished) if not is_left(_coroutine(task), leave)]
            return not holding
        finally:
            asyncio._set_running_loop(outer)


def _at_hand(value: Any) -> Any:
    """Coroutines cannot read rows when they look at something."""
    return list(value) if isinstance(value, fanout.Results) else value


def _coroutine(task: WorkflowTask) -> Coroutine[Any, Any, Any]:
    coroutine = task.get_coro()
    assert isinstance(coroutine, Coroutine)
    return coroutine
