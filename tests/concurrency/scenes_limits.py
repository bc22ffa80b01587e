"""What meets what at a limit: those who come to its gate, those who end, those who are stopped while they wait.

The actors do just that, and no whole passes: a pass on each side would have more orders than anybody can try.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.definitions import registry
from django_durable.engine import advance, claims, gate, payloads, slots, transitions, worker
from django_durable.engine.claims import Claim
from django_durable.engine.outcomes import Ended
from django_durable.exceptions import ExecutionConflict
from django_durable.limits import Limit, Wanted
from django_durable.models import Execution, Slot, Status
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import Outcomes, Scene
from tests.ledger_app import limited


def _start(workflow: Any, count: int) -> list[Any]:
    """The limit's row is there and nobody is left at it, so that every play makes the same calls."""
    Execution.objects.filter(workflow=workflow.name).delete()
    Slot.objects.all().delete()
    rule = workflow.limits[0]
    slots.key_of(Wanted(rule, rule.stored_name(workflow.name)), using="default")
    return [workflow.start() for _ in range(count)]


def _claimed(run: Any) -> tuple[Claim, Execution]:
    claim = claims.take(run.id, using="default")
    assert claim is not None
    return claim, advance._load(claim)


def _admit(claim: Claim, execution: Execution) -> bool:
    return gate.admit(claim, execution, registry.find(execution.workflow), payloads.load(execution.input))


def _arrival(run: Any) -> Act:
    """Come to the gate, and leave the pass to others."""
    claim, execution = _claimed(run)

    def arrive() -> bool:
        is_in = _admit(claim, execution)
        if is_in:
            claim.timers().update(token=None, holder="", due_at=DatabaseNow())
        return is_in

    return arrive


def _end(run: Any) -> Act:
    """End one that holds a slot."""
    claim, execution = _claimed(run)
    assert _admit(claim, execution)
    ending = Ended(status=Status.COMPLETED, result=payloads.dump("done"))
    return lambda: transitions.close(claim, execution, ending)


def _wait(run: Any) -> None:
    assert not _arrival(run)()


def _scene(acts: dict[str, Act], ends: set[str], runs: list[Any]) -> Scene:
    rule = registry.find(runs[0].workflow).limits[0]
    most = rule.capacity if isinstance(rule, Limit) else len(runs)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        held = Slot.objects.held().filter(execution__in=[run.id for run in runs])
        if held.count() > most:
            yield f"more than {most} hold a slot: {list(held)}"
        open_ones = Execution.objects.open().filter(pk__in=[run.id for run in runs])
        if held.count() < min(most, open_ones.filter(cancel_requested_at=None).count()):
            yield f"there is room and somebody waits: {list(Slot.objects.all())}"

    def settled(_: Outcomes) -> Iterable[str]:
        if Slot.objects.exists():
            yield f"slots are left: {list(Slot.objects.all())}"

    return Scene(acts, ends, [run.id for run in runs], agree, settled)


def arrival_x_arrival() -> Scene:
    """One of them is let in, the other waits."""
    runs = _start(limited.one_at_a_time, 2)
    acts = {"worker": _arrival(runs[0]), "other worker": _arrival(runs[1])}
    return _scene(acts, {"completed"}, runs)


def end_x_arrival() -> Scene:
    """The newcomer is let in, or found by the one that ends."""
    runs = _start(limited.one_at_a_time, 2)
    acts = {"worker": _end(runs[0]), "other worker": _arrival(runs[1])}
    return _scene(acts, {"completed"}, runs)


def end_x_end() -> Scene:
    """Two end at once and two wait: both are let in."""
    runs = _start(limited.two_at_a_time, 4)
    acts = {"worker": _end(runs[0]), "other worker": _end(runs[1])}
    for run in runs[2:]:
        _wait(run)
    return _scene(acts, {"completed"}, runs)


def _one_ends_two_wait() -> tuple[Act, list[Any]]:
    runs = _start(limited.one_at_a_time, 3)
    end = _end(runs[0])
    for run in runs[1:]:
        _wait(run)
    return end, runs


def end_x_terminate() -> Scene:
    """The next in turn is terminated while it is let in: the one after it is."""
    end, runs = _one_ends_two_wait()
    return _scene({"worker": end, "operator": lambda: client.terminate(runs[1])}, {"completed", "terminated"}, runs)


def end_x_cancel() -> Scene:
    """The next in turn is cancelled while it is let in."""
    end, runs = _one_ends_two_wait()
    scene = _scene({"worker": end, "canceller": lambda: client.cancel(runs[1])}, {"completed", "cancelled"}, runs)
    scene.agree = lambda _: []  # it may have the slot until it has ended
    return scene


def terminate_x_arrival() -> Scene:
    """The holder is terminated while another comes."""
    runs = _start(limited.one_at_a_time, 2)
    _end(runs[0])
    acts = {"operator": lambda: client.terminate(runs[0]), "worker": _arrival(runs[1])}
    return _scene(acts, {"completed", "terminated"}, runs)


def arrival_x_cancel() -> Scene:
    """It is about to wait for a slot, and is cancelled: it does not wait."""
    runs = _start(limited.one_at_a_time, 2)
    _end(runs[0])
    acts = {"worker": _arrival(runs[1]), "canceller": lambda: client.cancel(runs[1])}
    scene = _scene(acts, {"cancelled"}, runs[1:])
    scene.agree = scene.settled = lambda _: []  # the other one keeps the slot
    return scene


def arrival_x_pause() -> Scene:
    """It is paused before it waits for a slot, or keeps its place and whoever wanted to pause it is told."""
    runs = _start(limited.one_at_a_time, 2)
    _end(runs[0])
    acts = {"worker": _arrival(runs[1]), "operator": lambda: client.pause(runs[1])}

    def settled(outcomes: Outcomes) -> Iterable[str]:
        is_refused = isinstance(outcomes["operator"], ExecutionConflict)
        status = Execution.objects.get(pk=runs[1].id).status
        if status != (Status.PENDING if is_refused else Status.PAUSED):
            yield f"{status} after {outcomes['operator']!r}"

    return Scene(acts, {"pending", "paused"}, [runs[1].id], settled=settled)


def arrival_x_deadline() -> Scene:
    """It is about to wait for a slot, and its time is over now: it does not wait."""
    runs = _start(limited.one_at_a_time, 2)
    _end(runs[0])
    acts = {"worker": _arrival(runs[1]), "operator": lambda: client.change_deadline(runs[1], timedelta(hours=-1))}
    return Scene(acts, {"timed_out"}, [runs[1].id])


def newer_x_end() -> Scene:
    """The holder ends while a newer one has it cancelled."""
    runs = _start(limited.newest, 2)
    acts = {"worker": _end(runs[0]), "other worker": _arrival(runs[1])}
    return _scene(acts, {"completed", "cancelled"}, runs)


def older_x_newer() -> Scene:
    """Both come at once: the newer one completes, whoever was first."""
    runs = _start(limited.newest, 2)
    acts = {"worker": _arrival(runs[0]), "other worker": _arrival(runs[1])}
    scene = _scene(acts, {"completed", "cancelled"}, runs)

    def settled(_: Outcomes) -> Iterable[str]:
        worker.drain("default", using="default")
        statuses = [Execution.objects.get(pk=run.id).status for run in runs]
        if statuses != ["cancelled", "completed"]:
            yield f"ended as {statuses}"

    scene.agree, scene.settled = (lambda _: []), settled
    return scene


def rate_x_rate() -> Scene:
    """Two reserve at once, each an instant of its own."""
    runs = _start(limited.rated, 2)
    acts = {"worker": _arrival(runs[0]), "other worker": _arrival(runs[1])}
    scene = _scene(acts, {"completed"}, runs)

    def agree(_: Outcomes) -> Iterable[str]:
        reserved = Slot.objects.filter(execution__in=scene.ids)
        if reserved.count() != 2:
            yield f"{reserved.count()} reservations for two"

    scene.agree = agree
    return scene
