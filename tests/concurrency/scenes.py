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
from django_durable.models import Delivery, Execution, Signal, Timer
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
