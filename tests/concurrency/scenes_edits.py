"""Operators who edit histories meet each other and workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import worker
from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution, Step, Timer
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import Outcomes, Scene, _claim, _pass, _signal, _status, _work
from tests.ledger_app import ledger, mending, programs

_numbers = itertools.count()


def _refused(outcomes: Outcomes) -> list[str]:
    return sorted(name for name, outcome in outcomes.items() if isinstance(outcome, ExecutionConflict))


def _one_is_refused(outcomes: Outcomes) -> Iterable[str]:
    if len(_refused(outcomes)) != 1:
        yield f"refused: {_refused(outcomes)}"


def _failed(workflow: Any, *, key: str | None = None) -> Any:
    """An execution that has failed and whose cause is gone."""
    run = workflow.using(key=key).start()
    _work()
    assert _status(run) == "failed"
    mending.mend(run.id)
    return run


def _between_attempts() -> Any:
    """An execution whose next attempt is due and would succeed."""
    run = mending.mended_later.start()
    _work()
    assert _status(run) == "retrying"
    mending.mend(run.id)
    Step.objects.filter(execution_id=run.id, name="later").update(due_at=DatabaseNow())
    Timer.objects.filter(execution_id=run.id).update(due_at=DatabaseNow())
    return run


def retry_x_retry() -> Scene:
    run = _failed(mending.mended_child)
    acts: dict[str, Act] = {"one": lambda: client.retry(run.id), "other": lambda: client.retry(run.id, from_step=0)}
    return Scene(acts, {"completed"}, [run.id], _one_is_refused)


def retry_x_skip() -> Scene:
    """Of one that is stuck in a compensation."""
    run = mending.mended_stuck.start()
    _work()
    assert _status(run) == "stuck"
    acts: dict[str, Act] = {"one": lambda: client.retry(run.id), "other": lambda: client.skip_compensation(run.id)}
    return Scene(acts, {"failed", "compensation_failed"}, [run.id], _one_is_refused)


def go_back_x_terminate() -> Scene:
    """The worker sets aside what it has undone while somebody stops it: then, or before it has."""
    run = _failed(mending.mended_left)
    client.retry(run.id, from_step="car", compensate=True)
    acts: dict[str, Act] = {"worker": _pass(run), "operator": lambda: client.terminate(run.id)}

    def settled(_: Outcomes) -> Iterable[str]:
        """A retry takes it to its end from wherever it was stopped."""
        if _status(run) == "terminated":
            ledger.current().interrupted(run.id)
            client.retry(run.id)
            _work()
        if _status(run) != "completed":
            yield f"ended as {_status(run)}"

    return Scene(acts, {"terminated", "completed"}, [run.id], settled=settled)


def go_back_x_cancel() -> Scene:
    """It is asked to stop while it undoes: it goes back first, and is cancelled there."""
    run = _failed(mending.mended_left)
    client.retry(run.id, from_step="car", compensate=True)
    acts: dict[str, Act] = {"worker": _claim(run), "operator": lambda: client.cancel(run.id)}
    return Scene(acts, {"cancelled", "completed"}, [run.id])


def retry_x_worker() -> Scene:
    """A worker that looks at what is due while it is re-opened."""
    run = _failed(mending.mended_child)
    return Scene({"operator": lambda: client.retry(run.id), "worker": _claim(run)}, {"completed"}, [run.id])


def retry_x_zombie() -> Scene:
    """A worker that has not learnt yet that its execution was terminated, and is being run by others."""
    run = programs.steps.start(2)
    zombie = _pass(run)
    client.terminate(run.id)
    ledger.current().interrupted(run.id)

    def retry_and_work() -> None:
        client.retry(run.id)
        worker.advance_one(run.id, using="default")

    return Scene({"zombie worker": zombie, "operator's worker": retry_and_work}, {"completed"}, [run.id])


def retry_child_x_parent() -> Scene:
    """The parent asks for its child while that is being retried: it gets the old end, or waits for the new one.

    Who comes before it has ended, and after it was told, is refused; after its end there is nobody to contradict.
    """
    run = mending.mended_answer.start()
    _work()
    (child,) = Execution.objects.filter(parent_id=run.id)
    assert child.status == "failed"
    mending.mend(child.pk)
    _signal(run, "yes")()
    acts: dict[str, Act] = {"operator": lambda: client.retry(child.pk), "worker": _claim(run)}

    def settled(outcomes: Outcomes) -> Iterable[str]:
        ends = (_status(child), _status(run))
        if ends not in (
            [("failed", "failed")] if _refused(outcomes) else [("completed",) * 2, ("completed", "failed")]
        ):
            yield f"ended as {ends}, refused: {_refused(outcomes)}"

    return Scene(acts, {"completed", "failed"}, [run.id, child.pk], settled=settled)


def retry_x_signal() -> Scene:
    """A signal is refused by what is closed, or kept by what is open again."""
    run = mending.answered_then_mended.start()
    _signal(run, "yes")()
    _work()
    assert _status(run) == "failed"
    mending.mend(run.id)
    acts: dict[str, Act] = {
        "operator": lambda: client.retry(run.id, from_step=0),
        "signaller": _signal(run, "again"),
    }
    return Scene(acts, {"completed"}, [run.id])


def restart_x_restart() -> Scene:
    """Two copies, of which one has the key."""
    key = f"edits:{next(_numbers)}"
    run = _failed(mending.mended_child, key=key)
    ids = [run.id]

    def restart() -> None:
        ids.append(client.restart(run.id).pk)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        holders = set(Execution.objects.filter(key=key, key_scope__isnull=False).values_list("pk", flat=True))
        if len(holders) != 1 or not holders < set(ids) - {run.id}:
            yield f"the key is held by {holders}"

    return Scene({"one": restart, "other": restart}, {"failed", "completed"}, ids, agree)


def patch_x_attempt() -> Scene:
    return _decided(lambda run: lambda: client.patch_step(run.id, "later", "by hand"), ("by hand", 1))


def skip_x_attempt() -> Scene:
    return _decided(lambda run: lambda: client.skip_step(run.id, "later"), (None, 1))


def _decided(decide: Any, by_hand: tuple[Any, int]) -> Scene:
    """The decision counts, or the attempt does, with its result and its number."""
    run = _between_attempts()

    def settled(outcomes: Outcomes) -> Iterable[str]:
        attempts = Step.objects.get(execution_id=run.id, name="later").attempts
        found = (client.result(run.id, timeout=0), attempts)
        if found != (("done", 2) if _refused(outcomes) else by_hand):
            yield f"gave {found}, refused: {_refused(outcomes)}"

    return Scene({"operator": decide(run), "worker": _claim(run)}, {"completed"}, [run.id], settled=settled)


def fork_x_park() -> Scene:
    """A copy is of before the pass or of after it."""
    run = programs.cleanup.start(600)
    ids = [run.id]

    def fork() -> None:
        ids.append(client.fork(run.id, 0).pk)

    def settled(_: Outcomes) -> Iterable[str]:
        for each in ids:
            if _status(Execution(pk=each)) != "sleeping":
                yield f"{each} is {_status(Execution(pk=each))}"

    return Scene({"operator": fork, "worker": _claim(run)}, {"sleeping"}, ids, settled=settled)


PAIRS = {
    "retry x retry": (retry_x_retry, 4),
    "retry x skip compensation": (retry_x_skip, 4),
    "retry x worker": (retry_x_worker, 4),
    "going back x terminate": (go_back_x_terminate, 6),
    "going back x cancel": (go_back_x_cancel, 6),
    "retry x zombie": (retry_x_zombie, 6),
    "retry x signal": (retry_x_signal, 2),
    "restart x restart": (restart_x_restart, 4),
    "patch x attempt": (patch_x_attempt, 6),
    "skip x attempt": (skip_x_attempt, 6),
    "fork x park": (fork_x_park, 4),
}
