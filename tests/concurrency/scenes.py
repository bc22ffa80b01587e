"""What meets what: each scene sets a stage, says who does what on it, and how that may end.

No scene waits for time to pass. A worker that is ``late`` believes in an earlier time than the database's, so what
it parks until has come when it parks; a lease that has run out was made to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, deliveries, holders, worker
from django_durable.engine.advance import advance
from django_durable.engine.claims import Claim
from django_durable.engine.tick import tick
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict, UsedTokenError
from django_durable.models import Delivery, Execution, Signal, Step, Timer
from tests.concurrency.interleaver import Act
from tests.ledger_app import ledger, programs

HOUR = timedelta(hours=1)
DEAD = f"{holders.machine()}:0:1"  # the holder of a lease whose process is gone
_numbers = itertools.count()
Outcomes = dict[str, Any]


def _nothing(outcomes: Outcomes) -> Iterable[str]:
    return []


@dataclass
class Scene:
    """Actors by name; one called "worker" or "... worker" leaves its lease when it dies, any other is asked again.

    ids: what the executions are; an act that starts one adds it. ends: how they may end once all work is done.
    agree: what is wrong when all actors have returned. settled: what is wrong when all work is done.
    """

    acts: dict[str, Act]
    ends: set[str]
    ids: list[UUID] = field(default_factory=list)
    agree: Callable[[Outcomes], Iterable[str]] = _nothing
    settled: Callable[[Outcomes], Iterable[str]] = _nothing


# -- what actors do ------------------------------------------------------------------------------------


def _take(run: Any, *, late: timedelta = timedelta(0)) -> Claim:
    claim = claims.take(run.id, using="default")
    assert claim is not None
    claim.database_now -= late
    return claim


def _pass(run: Any, *, late: timedelta = timedelta(0)) -> Act:
    claim = _take(run, late=late)
    return lambda: advance(claim)


def _work() -> int:
    return worker.drain("default", using="default")


def _claim(run: Any) -> Act:
    return lambda: worker.advance_one(run.id, using="default")


def _tick_and_claim(run: Any) -> Act:
    def work() -> bool:
        tick(using="default")
        return worker.advance_one(run.id, using="default")

    return work


def _signal(run: Any, payload: object, *, name: str = "answer") -> Act:
    def send() -> object:
        accepted = client.signal(run.id, name, payload, signal_id=str(payload))
        ledger.current().sent(run.id, name, str(payload))
        return accepted

    return send


def _lease_runs_out(run: Any) -> None:
    """As if the worker that holds it had been stopped for longer than its lease."""
    assert Timer.objects.filter(execution_id=run.id).leased().update(due_at=DatabaseNow()) == 1
    ledger.current().interrupted(run.id)


def _status(run: Any) -> str:
    return Execution.objects.values_list("status", flat=True).get(pk=run.id)


def _was_refused(outcome: object) -> bool:
    return isinstance(outcome, ExecutionClosedError)


# -- a worker parks ------------------------------------------------------------------------------------


def park_x_signal() -> Scene:
    run = programs.signal.start()
    return Scene({"worker": _pass(run), "signaller": _signal(run, "yes")}, {"completed"}, [run.id])


def park_branches_x_signal() -> Scene:
    """A part of which one branch waits and another has just begun."""
    run = programs.two_branches.start()
    return Scene({"worker": _pass(run), "signaller": _signal(run, "yes")}, {"completed"}, [run.id])


def race_x_signal() -> Scene:
    """The time has come and the answer comes: one of them wins, the other is withdrawn or kept."""
    run = programs.race.start(60)
    acts = {"worker": _pass(run, late=HOUR), "signaller": _signal(run, "yes"), "other worker": _tick_and_claim(run)}
    return Scene(acts, {"completed"}, [run.id])


def park_x_timer() -> Scene:
    run = programs.sleep.start(60)
    acts = {"worker": _pass(run, late=HOUR), "other worker": _tick_and_claim(run)}
    return Scene(acts, {"completed"}, [run.id])


def park_x_cancel() -> Scene:
    run = programs.signal.start()
    return Scene({"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}, {"cancelled"}, [run.id])


def park_x_deadline() -> Scene:
    run = programs.signal.start()
    Execution.objects.filter(pk=run.id).update(deadline_at=DatabaseNow())
    acts = {"worker": _pass(run, late=HOUR), "other worker": _tick_and_claim(run)}
    return Scene(acts, {"timed_out"}, [run.id])


def park_x_terminate() -> Scene:
    run = programs.signal.start()
    return Scene({"worker": _pass(run), "operator": lambda: client.terminate(run.id)}, {"terminated"}, [run.id])


def timeout_x_signal() -> Scene:
    run = programs.signal_or_timeout.start(60)
    _pass(run, late=HOUR)()

    def settled(_: Outcomes) -> Iterable[str]:
        answered = Signal.objects.filter(execution_id=run.id).exclude(consumed_by="").exists()
        if (answer := client.result(run.id, timeout=0)) != ("yes" if answered else "too late"):
            yield f"ended with {answer!r}, and the signal was{'' if answered else ' not'} consumed"

    return Scene({"worker": _claim(run), "signaller": _signal(run, "yes")}, {"completed"}, [run.id], settled=settled)


def park_x_update() -> Scene:
    """The answer is given, and the first wait ends by it."""
    run = programs.state.start(1)

    def settled(_: Outcomes) -> Iterable[str]:
        if (answer := client.result(run.id, timeout=0)) != {"phase": "counted", "sum": 1}:
            yield f"ended with {answer}"

    return Scene({"worker": _pass(run), "asker": _ask(run, 1)}, {"completed"}, [run.id], settled=settled)


def update_x_update() -> Scene:
    """Both are answered in the order in which they were accepted, with the park or after it."""
    run = programs.state.start(3)
    asked: dict[int, UUID] = {}

    def asker(number: int) -> Act:
        def ask() -> None:
            asked[number] = client.send_update(run.id, "add", number, update_id=str(number))

        return ask

    def settled(_: Outcomes) -> Iterable[str]:
        replies = {number: client.update_result(run.id, request, timeout=0) for number, request in asked.items()}
        if replies not in ({1: 1, 2: 3}, {1: 3, 2: 2}):
            yield f"they were told {replies}"

    acts = {"worker": _pass(run), "asker": asker(1), "other asker": asker(2)}
    return Scene(acts, {"completed"}, [run.id], settled=settled)


def same_update_x_same_update() -> Scene:
    """One update_id: one request and one reply."""
    run = programs.state.start(1)
    _work()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if len(set(outcomes.values())) != 1:
            yield f"one update_id, and the requests {outcomes}"

    acts = {"asker": _ask(run, 1), "other asker": _ask(run, 1)}
    return Scene(acts, {"completed"}, [run.id], agree)


def update_x_cancel() -> Scene:
    """What waits is cancelled: the update is answered before, or its asker is told that it has ended."""
    run = programs.cleanup.start(600)
    _work()

    def settled(outcomes: Outcomes) -> Iterable[str]:
        return _is_told(run, outcomes["asker"])

    acts = {"worker": _claim(run), "asker": _ask(run, 1), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"cancelled"}, [run.id], settled=settled)


def close_x_update() -> Scene:
    """It is about to end: whoever was accepted is answered or told so."""
    run = programs.state_at_the_end.start()

    def settled(outcomes: Outcomes) -> Iterable[str]:
        return _is_told(run, outcomes["asker"])

    return Scene({"worker": _pass(run), "asker": _ask(run, 1)}, {"completed"}, [run.id], settled=settled)


def _ask(run: Any, number: int) -> Act:
    def ask() -> UUID:
        request = client.send_update(run.id, "add", number, update_id=str(number))
        ledger.current().sent(run.id, "update/add", f"update\t{number}")
        return request

    return ask


def _is_told(run: Any, asked: object) -> Iterable[str]:
    """What the asker hears in the end: a reply, or that it has ended."""
    if _was_refused(asked):
        return
    assert isinstance(asked, UUID)
    is_answered = Step.objects.filter(pk=asked).exists()
    try:
        reply = client.update_result(run.id, asked, timeout=0)
    except ExecutionClosedError:
        reply = None
    if (reply is not None) != is_answered:
        yield f"was told {reply}, and it was{'' if is_answered else ' not'} answered"


# -- a worker finishes ---------------------------------------------------------------------------------


def finish_x_signal() -> Scene:
    run = programs.atomic_once.start()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        kept = Signal.objects.filter(execution_id=run.id).count()
        if kept != (0 if _was_refused(outcomes["signaller"]) else 1):
            yield f"the sender was told {outcomes['signaller']!r}, {kept} signals are kept"

    return Scene({"worker": _pass(run), "signaller": _signal(run, 1)}, {"completed"}, [run.id], agree)


def finish_x_cancel() -> Scene:
    run = programs.atomic_once.start()

    def settled(outcomes: Outcomes) -> Iterable[str]:
        if _was_refused(outcomes["canceller"]) and _status(run) != "completed":
            yield f"the canceller was told that it is closed, and it is {_status(run)}"

    acts = {"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"completed", "cancelled"}, [run.id], settled=settled)


def _x_terminate(run: Any) -> Scene:
    def agree(outcomes: Outcomes) -> Iterable[str]:
        wanted = "completed" if _was_refused(outcomes["operator"]) else "terminated"
        if _status(run) != wanted:
            yield f"is {_status(run)}, and the operator was told {outcomes['operator']!r}"

    acts = {"worker": _pass(run), "operator": lambda: client.terminate(run.id)}
    return Scene(acts, {"completed", "terminated"}, [run.id], agree)


def finish_x_terminate() -> Scene:
    return _x_terminate(programs.steps.start(1))


def atomic_step_x_terminate() -> Scene:
    return _x_terminate(programs.atomic_once.start())


def emit_x_cancel() -> Scene:
    run = programs.emits.start()
    acts = {"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"completed", "cancelled"}, [run.id])


def emit_x_terminate() -> Scene:
    return _x_terminate(programs.emits_once.start())


# -- parents and children ------------------------------------------------------------------------------


def _family() -> tuple[Any, Any]:
    """A parent that waits for its child, which has not begun."""
    run = programs.parent_of_one.start()
    assert worker.advance_one(run.id, using="default")
    return run, Execution.objects.get(parent=run.id)


def park_x_child_end() -> Scene:
    """The parent is about to wait for a child that is about to end."""
    run, child = _family()
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
    return Scene({"worker": _pass(run), "other worker": _pass(child)}, {"completed"}, [run.id, child.pk])


def _map_of_two(limit: int | None = None) -> tuple[Any, list[Execution]]:
    """A parent that waits for two children, which have not begun."""
    run = programs.parent_of_two.start(limit)
    assert worker.advance_one(run.id, using="default")
    return run, list(Execution.objects.filter(parent=run.id).order_by("pk"))


def last_child_x_last_child() -> Scene:
    """Two that end at once: one of them is the last, and wakes the parent."""
    run, (one, other) = _map_of_two()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if not Timer.objects.filter(pk=run.id).due().exists():
            yield "both children have ended and the parent is not due: a lost wake-up"
        if (news := Timer.objects.filter(pk=run.id).values_list("wake_seq", flat=True).get()) != 1:
            yield f"the parent was told {news} times"

    acts = {"worker": _pass(one), "other worker": _pass(other)}
    return Scene(acts, {"completed"}, [run.id, one.pk, other.pk], agree)


def park_x_last_children() -> Scene:
    """The parent is about to wait for two children that are about to end."""
    run, (one, other) = _map_of_two()
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
    acts = {"worker": _pass(run), "other worker": _pass(one), "third worker": _pass(other)}
    return Scene(acts, {"completed"}, [run.id, one.pk, other.pk])


def park_x_last_child() -> Scene:
    run, (one, other) = _map_of_two()
    worker.advance_one(one.pk, using="default")
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
    return Scene({"worker": _pass(run), "other worker": _pass(other)}, {"completed"}, [run.id, one.pk, other.pk])


def cancelled_map_x_child_end() -> Scene:
    """The parent ends and asks its children to, as one of them ends and lets the other begin."""
    run, (one, other) = _map_of_two(1)
    client.cancel(run.id)
    acts = {"worker": _pass(run), "other worker": _pass(one)}
    return Scene(acts, {"completed", "cancelled"}, [run.id, one.pk, other.pk])


def terminated_map_x_child_end() -> Scene:
    run, (one, other) = _map_of_two(1)
    acts = {"operator": lambda: client.terminate(run.id), "worker": _pass(one)}
    return Scene(acts, {"completed", "cancelled", "terminated"}, [run.id, one.pk, other.pk])


def turn_x_cancel() -> Scene:
    """One ends and lets the next begin, which somebody cancels before its turn."""
    run, (one, other) = _map_of_two(1)
    acts = {"worker": _pass(one), "canceller": lambda: client.cancel(other.pk)}
    return Scene(acts, {"completed", "cancelled", "failed"}, [run.id, one.pk, other.pk])


def cancel_x_child_end() -> Scene:
    """The parent ends, and asks its child to, while that one ends and tells its parent."""
    run, child = _family()
    client.cancel(run.id)
    acts = {"worker": _pass(run), "other worker": _pass(child)}
    return Scene(acts, {"completed", "cancelled"}, [run.id, child.pk])


def terminate_x_child_end() -> Scene:
    run, child = _family()
    acts = {"operator": lambda: client.terminate(run.id), "worker": _pass(child)}
    return Scene(acts, {"completed", "cancelled", "terminated"}, [run.id, child.pk])


def terminate_x_child_start() -> Scene:
    """A parent that is terminated while it starts a child leaves none that nobody will end."""
    run = programs.parent_of_one.start()
    scene = Scene({"worker": _pass(run)}, {"terminated", "cancelled"}, [run.id])

    def settled(outcomes: Outcomes) -> Iterable[str]:
        left = Execution.objects.filter(parent=run.id).open()
        return [f"left {each.status}" for each in left]

    scene.acts["operator"] = lambda: client.terminate(run.id)
    scene.settled = settled
    return scene


# -- an execution is continued ---------------------------------------------------------------------------


def _last(run: Any, ids: list[UUID]) -> Execution:
    """The end of the chain; the checker is told of all of it."""
    chain = Execution.objects.filter(chain=run.id).exclude(pk=run.id)
    ids.extend(chain.values_list("pk", flat=True))
    return client.latest(run.id)


def continue_x_signal() -> Scene:
    """The answer goes over, or comes to the next one by itself."""
    run = programs.relayed.start(1)
    ids = [run.id]

    def settled(_: Outcomes) -> Iterable[str]:
        if (last := _last(run, ids)).pk == run.id or client.result(last, timeout=0) != "one":
            yield f"{last.pk} is {last.status}"

    acts = {"worker": _pass(run), "signaller": _signal(run, "one")}
    return Scene(acts, {"continued", "completed"}, ids, settled=settled)


def continue_x_cancel() -> Scene:
    """Whichever of the two it reaches, the cancellation is not lost."""
    run = programs.relayed.start(1)
    ids = [run.id]

    def settled(_: Outcomes) -> Iterable[str]:
        if (last := _last(run, ids)).status != "cancelled":
            yield f"was cancelled and is {last.status}"

    acts = {"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"continued", "cancelled"}, ids, settled=settled)


def continue_x_terminate() -> Scene:
    run = programs.relayed.start(1)
    ids = [run.id]

    def settled(_: Outcomes) -> Iterable[str]:
        if (last := _last(run, ids)).status != "terminated":
            yield f"was terminated and is {last.status}"

    acts = {"worker": _pass(run), "operator": lambda: client.terminate(run.id)}
    return Scene(acts, {"continued", "terminated"}, ids, settled=settled)


def continue_x_parent_end() -> Scene:
    """The parent ends, and asks its child to, while that one goes on as another."""
    parent = programs.parent_of_relayed.start(1)
    assert worker.advance_one(parent.id, using="default")
    child = Execution.objects.get(parent=parent.id)
    client.cancel(parent.id)
    ids = [parent.id, child.pk]

    def settled(_: Outcomes) -> Iterable[str]:
        if (last := _last(child, ids)).status != "cancelled":
            yield f"its parent has ended and it is {last.status}"

    acts = {"worker": _pass(parent), "other worker": _pass(child)}
    return Scene(acts, {"continued", "cancelled"}, ids, settled=settled)


def continue_x_parent_park() -> Scene:
    """The parent is about to wait for a child that goes on as another and then ends."""
    parent = programs.parent_of_relayed.start(1)
    assert worker.advance_one(parent.id, using="default")
    child = Execution.objects.get(parent=parent.id)
    _signal(child, "one")()
    Timer.objects.filter(pk=parent.id).update(due_at=DatabaseNow())
    ids = [parent.id, child.pk]

    def settled(_: Outcomes) -> Iterable[str]:
        _last(child, ids)
        if _status(parent) != "completed":
            yield f"the parent is {_status(parent)}"

    acts = {"worker": _pass(parent), "other worker": _pass(child)}
    return Scene(acts, {"continued", "completed"}, ids, settled=settled)


def continue_x_start() -> Scene:
    """The key belongs to one of the two at every moment."""
    key = f"order:{next(_numbers)}"
    run = programs.relayed.using(key=key).start(1)
    ids = [run.id]

    def start() -> UUID:
        with transaction.atomic():  # the caller's own
            found = programs.relayed.using(key=key).start(1)
        ledger.current().started(found.id, workflow=programs.relayed.name, key=key)
        return found.id

    def settled(outcomes: Outcomes) -> Iterable[str]:
        last = _last(run, ids)
        client.cancel(last)
        if outcomes["caller"] not in ids or [row.pk for row in client.find(key=key)] != [last.pk]:
            yield f"the caller was told {outcomes['caller']}, the chain is {ids}"
        _work()

    acts = {"worker": _pass(run), "caller": start}
    return Scene(acts, {"continued", "cancelled"}, ids, settled=settled)


def continue_x_signal_with_start() -> Scene:
    key = f"order:{next(_numbers)}"
    run = programs.relayed.using(key=key).start(1)
    ids = [run.id]

    def send() -> None:
        prepared = programs.relayed.using(key=key).prepare(1)
        client.signal_with_start(prepared, "answer", "one", signal_id="one")
        ledger.current().sent(run.id, "answer", "one")

    def settled(_: Outcomes) -> Iterable[str]:
        if client.result(_last(run, ids), timeout=0) != "one":
            yield "ended without the answer"

    return Scene({"worker": _pass(run), "sender": send}, {"continued", "completed"}, ids, settled=settled)


def continue_x_lease_expiry() -> Scene:
    """Two workers want to continue it: there is one next."""
    run = programs.relayed.start(1)
    first = _pass(run)
    _lease_runs_out(run)
    ids = [run.id]

    def settled(_: Outcomes) -> Iterable[str]:
        last = _last(run, ids)
        if last.status != "waiting" or len(ids) != 2:
            yield f"{ids} is {last.status}"

    return Scene({"worker": first, "other worker": _claim(run)}, {"continued", "waiting"}, ids, settled=settled)


# -- a worker undoes -----------------------------------------------------------------------------------


def rollback_x_cancel() -> Scene:
    """A cancel before the end is decided decides it, a later one changes nothing."""
    run = programs.small_saga.start()
    acts = {"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"failed", "cancelled"}, [run.id])


def rollback_x_terminate() -> Scene:
    run = programs.small_saga.start()
    acts = {"worker": _pass(run), "operator": lambda: client.terminate(run.id)}
    return Scene(acts, {"failed", "terminated"}, [run.id])


def retry_x_skip() -> Scene:
    """Two people decide about one compensation: one decision counts, the other is refused."""
    run = programs.saga_stuck.start()
    _work()
    assert _status(run) == "stuck"

    def agree(outcomes: Outcomes) -> Iterable[str]:
        refused = [name for name, outcome in outcomes.items() if isinstance(outcome, ExecutionConflict)]
        if len(refused) != 1:
            yield f"refused: {refused}"

    acts = {"one": lambda: client.retry_compensation(run.id), "other": lambda: client.skip_compensation(run.id)}
    return Scene(acts, {"failed", "compensation_failed"}, [run.id], agree=agree)


# -- who has it ----------------------------------------------------------------------------------------


def claim_x_claim() -> Scene:
    run = programs.atomic_once.start()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if sorted(outcomes.values()) != [0, 1]:
            yield f"was taken so many times: {outcomes}"

    return Scene({"worker": _work, "other worker": _work}, {"completed"}, [run.id], agree)


def claim_x_lease_expiry() -> Scene:
    """The first worker goes on, too late, while the lease is anybody's."""
    run = programs.atomic_once.start()
    first = _pass(run)
    _lease_runs_out(run)
    return Scene({"worker": first, "other worker": _claim(run)}, {"completed"}, [run.id])


def claim_x_tick() -> Scene:
    """The lease of a dead process has run out: a tick must not take away what a worker has claimed meanwhile."""
    run = programs.atomic_once.start()
    _take(run)
    Timer.objects.filter(execution_id=run.id).update(holder=DEAD, due_at=DatabaseNow())

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if (outcomes["worker"], _status(run)) != (True, "completed"):
            yield f"the worker was told {outcomes['worker']} and left it {_status(run)}"

    return Scene({"worker": _claim(run), "ticker": lambda: tick(using="default")}, {"completed"}, [run.id], agree)


def heartbeat_x_reclaim() -> Scene:
    """The lease has run out; its holder's sign of life comes as another worker wants it."""
    run = programs.steps.start(1)
    claim = _take(run)
    _lease_runs_out(run)

    def live_on() -> bool:
        claim.lost = not claims.extend(claim)
        advance(claim)
        return not claim.lost

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if outcomes["worker"] == outcomes["other worker"]:
            yield f"the two were told {outcomes}: one of them holds it"

    acts = {"worker": live_on, "other worker": _claim(run)}
    return Scene(acts, {"completed"}, [run.id], agree)


def tick_x_tick() -> Scene:
    """Both find the lease of a dead process."""
    run = programs.atomic_once.start()
    _take(run)
    Timer.objects.filter(execution_id=run.id).update(holder=DEAD)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if ["default"] not in outcomes.values():
            yield f"nobody found the queue to be due: {outcomes}"
        if not Timer.objects.filter(execution_id=run.id, token=None).due().exists():
            yield "the lease was not returned"

    acts = {"ticker": lambda: tick(using="default"), "other ticker": lambda: tick(using="default")}
    return Scene(acts, {"completed"}, [run.id], agree)


# -- a worker delivers ---------------------------------------------------------------------------------


def deliver_x_deliver() -> Scene:
    """One of the two calls the receiver."""
    run = programs.emits_once.start()
    worker.advance_one(run.id, using="default")

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if list(outcomes.values()).count(True) != 1:
            yield f"was taken so many times: {outcomes}"

    return _delivering(run, _deliver, _deliver, agree)


def deliver_x_lease_expiry() -> Scene:
    """The first worker has called the receiver, and comes to tell too late."""
    run = programs.emits_once.start()
    worker.advance_one(run.id, using="default")
    first = deliveries.take_next("default", using="default")
    assert first is not None
    Delivery.objects.filter(pk=first.pk).update(due_at=DatabaseNow())
    return _delivering(run, lambda: deliveries.attempt(first, using="default"), _deliver)


def deliver_x_retry() -> Scene:
    """A person retries what has failed and is refused, or it is delivered once."""
    run = programs.emits_once.start()
    worker.advance_one(run.id, using="default")
    failed = Delivery.objects.filter(event__execution_id=run.id)
    failed.update(status="failed", due_at=None)
    delivery = failed.get().pk
    return _delivering(run, _deliver, lambda: client.retry_delivery(delivery))


def _deliver() -> bool:
    delivery = deliveries.take_next("default", using="default")
    if delivery is not None:
        deliveries.attempt(delivery, using="default")
    return delivery is not None


def _delivering(run: Any, one: Act, other: Act, agree: Callable[[Outcomes], Iterable[str]] = _nothing) -> Scene:
    def settled(_: Outcomes) -> Iterable[str]:
        for delivery in Delivery.objects.filter(event__execution_id=run.id).exclude(status="delivered", token=None):
            yield f"{delivery} is left"

    return Scene({"worker": one, "other worker": other}, {"completed"}, [run.id], agree, settled)


# -- callers -------------------------------------------------------------------------------------------


def start_x_start() -> Scene:
    key = f"order:{next(_numbers)}"
    ids: list[UUID] = []

    def start() -> UUID:
        with transaction.atomic():  # the caller's own
            run = programs.plain.using(key=key).start(1)
        ledger.current().started(run.id, workflow=programs.plain.name, key=key)
        ids.append(run.id)
        return run.id

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if len(set(outcomes.values())) != 1:
            yield f"one key, and two answers: {outcomes}"

    return Scene({"caller": start, "other caller": start}, {"completed"}, ids, agree)


def signal_x_signal() -> Scene:
    return _in_order({})


def _in_order(worker: dict[str, Act]) -> Scene:
    run = programs.signals.start(2)
    client.signal(run.id, "last", "bye")
    accepted: list[str] = []

    def signaller(name: str) -> Act:
        send = _signal(run, name)

        def sent() -> None:
            send()
            accepted.append(name)  # one moves at a time: whoever has committed comes here before anybody else commits

        return sent

    def settled(_: Outcomes) -> Iterable[str]:
        if (answers := client.result(run.id, timeout=0)[:2]) != accepted:
            yield f"accepted in the order {accepted}, consumed as {answers}"

    senders = {name: signaller(name) for name in ("signaller", "other signaller")}
    return Scene({**worker, **senders}, {"completed"}, [run.id], settled=settled)


def signal_with_start_x_signal_with_start() -> Scene:
    """One key, two senders: one execution, one of them has started it, and both signals arrive."""
    key = f"order:{next(_numbers)}"
    ids: list[UUID] = []

    def sender(payload: str) -> Act:
        def send() -> tuple[UUID, bool]:
            prepared = programs.signals.using(key=key).prepare(2)
            run, is_new = client.signal_with_start(prepared, "answer", payload, signal_id=payload)
            ledger.current().started(run.id, workflow=programs.signals.name, key=key)
            ledger.current().sent(run.id, "answer", payload)
            ids.append(run.id)
            return run.id, is_new

        return send

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if len(set(ids)) != 1 or sorted(is_new for _, is_new in outcomes.values()) != [False, True]:
            yield f"one key, and two answers: {outcomes}"
        client.signal(ids[0], "last", "bye")

    def settled(_: Outcomes) -> Iterable[str]:
        if sorted(answers := client.result(ids[0], timeout=0)) != ["bye", "one", "two"]:
            yield f"the answers were {answers}"

    return Scene({"sender": sender("one"), "other sender": sender("two")}, {"completed"}, ids, agree, settled)


def signal_with_start_x_worker() -> Scene:
    """Who sees the execution sees the signal."""
    prepared = programs.signal_or_timeout.using(key=f"order:{next(_numbers)}").prepare(0)
    ids: list[UUID] = []

    def send() -> None:
        run, _ = client.signal_with_start(prepared, "answer", "yes", signal_id="yes")
        ids.append(run.id)

    def settled(_: Outcomes) -> Iterable[str]:
        if (answer := client.result(ids[0], timeout=0)) != "yes":
            yield f"the first look found {answer!r}"

    return Scene({"sender": send, "worker": _work}, {"completed"}, ids, settled=settled)


def token_x_token() -> Scene:
    run = programs.by_token.start()
    _work()
    token = ledger.current().token(run.id)
    assert token is not None

    def use(payload: str) -> Act:
        return lambda: client.signal_by_token(token, "answer", payload)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if sorted(isinstance(outcome, UsedTokenError) for outcome in outcomes.values()) != [False, True]:
            yield f"one token, and the answers {outcomes}"
        if (kept := Signal.objects.filter(execution_id=run.id).count()) != 1:
            yield f"one token, and {kept} signals"

    return Scene({"one": use("one"), "other": use("other")}, {"completed"}, [run.id], agree)


# -- three at a time -----------------------------------------------------------------------------------


def signal_x_zombie_x_worker() -> Scene:
    run = programs.signal.start()
    zombie = _pass(run)
    _lease_runs_out(run)
    acts = {"zombie worker": zombie, "worker": _claim(run), "signaller": _signal(run, "yes")}
    return Scene(acts, {"completed"}, [run.id])


def signal_x_signal_x_worker() -> Scene:
    return _in_order({"worker": _work})


def cancel_x_signal_x_worker() -> Scene:
    run = programs.signal.start()
    acts = {"worker": _claim(run), "signaller": _signal(run, "yes"), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"cancelled", "completed"}, [run.id])


def terminate_x_zombie_x_worker() -> Scene:
    run = programs.steps.start(2)
    zombie = _pass(run)
    _lease_runs_out(run)
    acts = {"zombie worker": zombie, "worker": _claim(run), "operator": lambda: client.terminate(run.id)}
    return Scene(acts, {"terminated", "completed"}, [run.id])
