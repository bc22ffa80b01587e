"""Step bodies of several branches side by side: each in a thread with database connections of its own.

Only bodies run there. A branch that comes to a new attempt leaves its function with what it wants (``outcomes.Wants``);
the outermost part collects the wants of all, and here the pass's own thread begins as many as there is room for,
records each outcome as it comes, in the order of completion, and says which branch can go on. Journal, history and
compensations belong to that thread alone.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from django.db import connections

from django_durable.engine import step_limits
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import Abandon, Leave, Want
from django_durable.exceptions import Cancelled, ControlFlow

SLOT_LOOK_SECONDS = 1.0  # while bodies run, how often is asked whether others were given a slot of their limit


@contextmanager
def crew(matcher: Matcher) -> Iterator[Crew | None]:
    """Who runs the bodies of the outermost part; None inside another part, and where bodies run in place.

    However the block is left, bodies that still run are waited for and recorded; on a lost lease only waited for.
    What ends the whole process waits for nothing.
    """
    shared = matcher.shared
    if shared.hands_over or shared.body_threads <= 1:
        yield None
        return
    hands = Crew(matcher, Threads(shared.body_threads))
    shared.hands_over = True
    try:
        yield hands
        hands.finish()
    except (Exception, ControlFlow) as error:
        hands.finish(is_recorded=not (isinstance(error, Leave) and isinstance(error.why, Abandon)))
        raise
    finally:
        shared.hands_over = False
        shared.in_flight.clear()
        hands.dismiss()


class Crew:
    """Runs what branches want, for the pass that holds the lease."""

    def __init__(self, matcher: Matcher, threads: Threads) -> None:
        self._matcher = matcher
        self._in_flight = matcher.shared.in_flight
        self._threads = threads

    @property
    def is_idle(self) -> bool:
        return not self._in_flight

    @contextmanager
    def resting(self) -> Iterator[None]:
        """For a branch that alone has anything to do: its bodies run in place, and its own parts may have a crew."""
        self._matcher.shared.hands_over = False
        try:
            yield
        finally:
            self._matcher.shared.hands_over = True

    def next(self, wanted: Callable[[], Iterable[Want]]) -> str:
        """Begin what there is room for, and name the first whose branch can go on: for one, its outcome is recorded.

        wanted: in the order in which to begin; at least one. Raises Leave when the lease is lost or, once no body runs
        any more, because this worker is stopping or somebody has paused the execution.
        """
        while True:
            is_stopping = self._matcher.is_to_hand_back  # once: where nothing runs, there would be nothing to wait for
            if self.is_idle or self._matcher.claim.lost:
                self._matcher.before_new_work()
            name, seconds = (None, None) if is_stopping else self._begin(wanted())
            if name is not None:
                return name
            try:
                want, outcome = self._ended(seconds)
            except Empty:  # a back-off is over
                continue
            if self._matcher.claim.lost:
                self._matcher.before_new_work()
            want.record(outcome.result)
            return want.name

    def _begin(self, wanted: Iterable[Want]) -> tuple[str | None, float | None]:
        """The first whose branch must be entered again instead, and the seconds until the next one may begin.

        A step whose limit is full is asked for again as long as others run or will; then its branch is to park.
        """
        full = self._matcher.shared.full
        step_limits.look_again(self._matcher)
        soonest, waiting = None, None
        for want in wanted:
            if len(self._in_flight) >= self._threads.most:
                break
            if want.name in self._in_flight:
                continue
            if want.is_interrupted():
                return want.name, None
            seconds = self._seconds_until(want)
            if seconds > 0:
                soonest = seconds if soonest is None else min(soonest, seconds)
                continue
            if want.in_place:
                return want.name, None
            try:
                if want.name in full or not want.begin():
                    waiting = waiting or want.name
                    continue
            except Cancelled:  # what it wrote has met news; that is recorded, and for the branch to learn
                return want.name, None
            self._in_flight[want.name] = want
            self._threads.run(want.name, want.body)
        if waiting is None:
            return None, soonest
        if self.is_idle and soonest is None:
            return waiting, None
        return None, min(soonest or SLOT_LOOK_SECONDS, SLOT_LOOK_SECONDS)

    def _seconds_until(self, want: Want) -> float:
        return (want.not_before - self._matcher.claim.now()).total_seconds() if want.not_before is not None else 0

    def _ended(self, seconds: float | None = None) -> tuple[Want, Future[Any]]:
        """The next to end. Raises Empty after so many seconds."""
        name, outcome = self._threads.ended.get(timeout=seconds)
        return self._in_flight.pop(name), outcome

    def finish(self, *, is_recorded: bool = True) -> None:
        """Wait for what runs, and for the threads to close their connections."""
        try:
            while is_recorded and self._in_flight:
                want, outcome = self._ended()
                want.record(outcome.result)
        finally:
            while self._in_flight:  # the lease was lost
                self._ended()
            self._threads.stop()

    def dismiss(self) -> None:
        self._threads.dismiss()


class Threads:
    """Up to ``most`` threads, begun when they are needed; each closes its connections when it ends.

    ended: the name of each body that has ended, and its outcome.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.ended: SimpleQueue[tuple[str, Future[Any]]] = SimpleQueue()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, name: str, body: Callable[[], Any]) -> None:
        """Run it as soon as a thread is free. It sees the caller's context variables."""
        inherited = contextvars.copy_context()
        self._jobs.put(lambda: self.ended.put((name, inherited.run(_outcome_of, body))))
        if len(self._threads) < self.most:
            self._start(name)

    def _start(self, name: str) -> None:
        # Not waited for at the end of the process: Python cannot stop a body.
        thread = threading.Thread(target=self._work, name=f"step {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads allowed
            if not self._threads and (job := self._jobs.get()) is not None:
                job()
            return
        self._threads.append(thread)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
                _drop_broken_connections()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Wait for all to end."""
        threads = list(self._threads)
        self.dismiss()
        for thread in threads:
            thread.join()

    def dismiss(self) -> None:
        """Let each end when it is done."""
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()


def _outcome_of(body: Callable[[], Any]) -> Future[Any]:
    outcome: Future[Any] = Future()
    try:
        outcome.set_result(body())
    except BaseException as error:  # the pass's thread raises it
        outcome.set_exception(error)
    return outcome


def _drop_broken_connections() -> None:
    """What one body has broken is not handed to the next; others are kept, as from step to step of a pass."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred or connection.in_atomic_block:
            connection.close()
