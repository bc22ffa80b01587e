"""What meets a prune: workers, people, and other prunes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from django.db import transaction

from django_durable import client
from django_durable.engine import retention
from django_durable.engine.retention import Wanted
from django_durable.exceptions import (
    DeliveryConflict,
    ExecutionClosedError,
    ExecutionConflict,
    ExecutionNotFoundError,
)
from django_durable.models import Delivery, Execution, OutboxEvent, Signal, Step, Timer
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import Outcomes, Scene, _family, _pass
from tests.ledger_app import programs
from tests.models import rows

_numbers = itertools.count()
LATER = rows.AT + rows.HOUR
GONE = "it is gone"  # an answer, and no failure


def _prune(workflow: str, *, size: int = 10, status: str = "completed") -> Act:
    wanted = Wanted(workflow=workflow, status=status, before=LATER)
    return lambda: retention.prune(wanted, size=size, using="default").deleted


def _expired(workflow: str, **values: Any) -> Execution:
    """With a checkpoint, a signal and a delivered event."""
    execution = rows.closed(**{"workflow": workflow, **values})
    rows.step(execution)
    rows.signal(execution)
    rows.delivery(rows.event(execution), status="delivered", due_at=None, delivered_at=rows.AT)
    return execution


def _torn(execution: Execution) -> Iterable[str]:
    """All its rows are there, or none of them is."""
    tables = (Execution.objects.filter(pk=execution.pk), *(_of(model, execution) for model in (Step, Signal)))
    events = OutboxEvent.objects.filter(execution_id=execution.pk)
    counts = [found.count() for found in (*tables, events, Delivery.objects.filter(event__in=events))]
    if len(set(counts)) != 1:
        yield f"{counts} rows of {execution.pk} are left"


def _of(model: Any, execution: Execution) -> Any:
    return model.objects.filter(execution_id=execution.pk)


def _workflow() -> str:
    return f"old.{next(_numbers)}"


def _bystander() -> Any:
    """What the judge looks at: the others may be gone."""
    return rows.closed().pk


def prune_x_prune() -> Scene:
    """A parent, its child and two more, by two that delete two at a time: each goes once and whole."""
    name = _workflow()
    parent = _expired(name)
    executions = [parent, _expired(name, parent=parent), _expired(name), _expired(name)]
    alive = rows.execution(parent=parent)
    rows.timer(alive, due_at=None)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        left = Execution.objects.filter(workflow=name).count()
        if sum(outcomes.values()) + left != len(executions):
            yield f"{outcomes} were deleted and {left} are left"
        for execution in executions:
            yield from _torn(execution)
        while _prune(name)():
            pass
        if Execution.objects.filter(workflow=name).exists() or not Timer.objects.filter(pk=alive.pk).exists():
            yield "what was left cannot be deleted, or what lives was"

    acts = {"pruner": _prune(name, size=2), "other pruner": _prune(name, size=2)}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def prune_x_retry() -> Scene:
    """Somebody opens a failed parent again: it and the child that it may read are there, or it was too late."""
    name = _workflow()
    parent = _expired(name, status="failed")
    child = _expired(name, status="failed", parent=parent)

    def reopen() -> int:
        with transaction.atomic():
            opened = Execution.objects.filter(pk=parent.pk, status="failed").update(status="pending", finished_at=None)
            if opened:
                Timer.objects.create(execution_id=parent.pk, queue="default", due_at=None)
        return opened

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from [*_torn(parent), *_torn(child)]
        is_there = Execution.objects.filter(pk=parent.pk).exists()
        if is_there != bool(outcomes["operator"]):
            yield f"opened again: {outcomes['operator']}, and there: {is_there}"
        Timer.objects.filter(pk=parent.pk).delete()

    acts = {"pruner": _prune(name, status="failed"), "operator": reopen}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def prune_x_child_end() -> Scene:
    """An abandoned child ends as its parent is deleted: it ends as it would, without a parent."""
    name = _workflow()
    parent = _expired(name)
    child = programs.plain_child.start()
    Execution.objects.filter(pk=child.id).update(parent=parent, on_parent_close="abandon")

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from _torn(parent)
        while _prune(name)():
            pass
        if Execution.objects.filter(pk=parent.pk).exists():
            yield "the parent was kept for ever"

    return Scene({"pruner": _prune(name), "worker": _pass(child)}, {"completed"}, [child.id], agree)


def prune_x_child_start() -> Scene:
    """A parent that is open starts a child, and neither it nor an old child of its own is found."""
    run = programs.parent_of_one.start()
    name = _workflow()
    old = _expired(name, parent=Execution.objects.get(pk=run.id))

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if outcomes["pruner"] or not Execution.objects.filter(pk=old.pk).exists():
            yield "the child of an open parent was deleted"

    return Scene({"pruner": _prune(name), "worker": _pass(run)}, {"completed"}, [_bystander()], agree)


def prune_x_parent_end() -> Scene:
    """The parent reads its child's result and ends."""
    run, child = _family()
    _pass(child)()
    Execution.objects.filter(pk=child.pk).update(finished_at=rows.AT, workflow=(name := _workflow()))

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if (end := Execution.objects.values_list("status", flat=True).get(pk=run.id)) != "completed":
            yield f"the parent is {end}"
        step = Step.objects.get(execution_id=run.id, kind="join")
        if step.status != "completed":
            yield f"it read that its child {step.status}"

    return Scene({"pruner": _prune(name), "worker": _pass(run)}, {"completed"}, [_bystander()], agree)


def prune_x_signal() -> Scene:
    """Who signals is told that it is over or that it is gone."""
    name = _workflow()
    old = _expired(name)

    def ask() -> None:
        with suppress(ExecutionClosedError, ExecutionNotFoundError):
            client.signal(old.pk, "answer", "yes")

    acts = {"pruner": _prune(name), "caller": ask}
    return Scene(acts, {"completed"}, [_bystander()], lambda _: _torn(old))


def prune_x_delivery_retry() -> Scene:
    """A person retries a failed delivery: it is there and will be made, or he is told that it is not."""
    name = _workflow()
    old = rows.closed(workflow=name)
    failed = rows.delivery(rows.event(old), status="failed", due_at=None)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        was_refused = isinstance(outcomes["operator"], DeliveryConflict)
        if was_refused == Delivery.objects.filter(pk=failed.pk).exists():
            yield f"refused: {was_refused}, and it is {'' if was_refused else 'not '}there"
        if was_refused == Execution.objects.filter(pk=old.pk).exists():
            yield "the execution went, and the delivery stayed; or the other way round"
        Delivery.objects.filter(pk=failed.pk).delete()

    acts = {"pruner": _prune(name), "operator": lambda: client.retry_delivery(failed.pk)}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def delete_x_delete() -> Scene:
    execution = _expired(_workflow())

    def agree(outcomes: Outcomes) -> Iterable[str]:
        refused = sum(each == GONE or isinstance(each, ExecutionConflict) for each in outcomes.values())
        if refused != 1 or Execution.objects.filter(pk=execution.pk).exists():
            yield f"{refused} were refused"
        yield from _torn(execution)

    acts = {"one": _delete(execution), "other": _delete(execution)}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def delete_x_prune() -> Scene:
    execution = _expired(_workflow())

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if Execution.objects.filter(pk=execution.pk).exists():
            yield "it is still there"
        yield from _torn(execution)

    acts = {"operator": _delete(execution), "pruner": _prune(execution.workflow)}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def delete_x_retry() -> Scene:
    """It is deleted, or goes on; a retry of what is gone is told so."""
    run = programs.signal.start()
    _pass(run)()
    client.force_fail(run.id, "no")

    def agree(outcomes: Outcomes) -> Iterable[str]:
        is_there = Execution.objects.filter(pk=run.id).exists()
        if is_there != isinstance(outcomes["operator"], ExecutionConflict):
            yield f"{outcomes}, and it is {'there' if is_there else 'gone'}"
        if is_there != Timer.objects.filter(pk=run.id).exists():
            yield "it is without its timer, or that without it"

    acts = {"operator": _delete(run), "other": _retry(run)}
    return Scene(acts, {"completed"}, [_bystander()], agree)


def _retry(execution: Any) -> Act:
    def retry() -> Any:
        try:
            return client.retry(execution.id)
        except ExecutionNotFoundError:
            return GONE

    return retry


def _delete(execution: Any) -> Act:
    def delete() -> Any:
        try:
            return client.delete(execution.id)
        except ExecutionNotFoundError:
            return GONE

    return delete


PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "prune x prune": (prune_x_prune, 6),
    "prune x retry": (prune_x_retry, 4),
    "prune x child's end": (prune_x_child_end, 6),
    "prune x child's start": (prune_x_child_start, 3),
    "prune x parent's end": (prune_x_parent_end, 3),
    "prune x signal": (prune_x_signal, 4),
    "prune x retry of a delivery": (prune_x_delivery_retry, 4),
}
# All of their orders, 205 to 312, were played once on each database.
SAMPLED: dict[str, Callable[[], Scene]] = {
    "delete x delete": delete_x_delete,
    "delete x prune": delete_x_prune,
    "delete x retry": delete_x_retry,
}
