"""Verbs of operators against a worker's commit and each other: one comes first, the other is told or looks again."""

from __future__ import annotations

from datetime import timedelta

from django_durable import client
from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution
from tests.concurrency.scenes import HOUR, Outcomes, Scene, _claim, _pass, _signal, _work
from tests.ledger_app import programs


def park_x_pause() -> Scene:
    """It parks as paused, or parks and is paused then."""
    run = programs.signal.start()
    return Scene({"worker": _pass(run), "operator": lambda: client.pause(run.id)}, {"paused"}, [run.id])


def finish_x_pause() -> Scene:
    run = programs.atomic_once.start()
    return Scene({"worker": _pass(run), "operator": lambda: client.pause(run.id)}, {"completed", "paused"}, [run.id])


def rest_x_resume() -> Scene:
    """The worker leaves what was paused under it, while somebody lets it go on."""
    run = programs.signal.start()
    work = _pass(run)
    client.pause(run.id)
    return Scene({"worker": work, "operator": lambda: client.resume(run.id)}, {"waiting"}, [run.id])


def paused_x_signal_x_resume() -> Scene:
    run = programs.signal.start()
    _work()
    client.pause(run.id)
    acts = {"operator": lambda: client.resume(run.id), "signaller": _signal(run, "yes")}
    return Scene(acts, {"completed"}, [run.id])


def resume_x_resume() -> Scene:
    run = programs.signal.start()
    _work()
    client.pause(run.id)
    acts = {"one": lambda: client.resume(run.id), "other": lambda: client.resume(run.id)}
    return Scene(acts, {"waiting"}, [run.id], agree=_one_wins)


def pause_x_cancel() -> Scene:
    """Whoever comes last: a cancellation ends a pause, and what is being cancelled is not paused."""
    run = programs.signal.start()
    _work()
    acts = {"operator": lambda: client.pause(run.id), "canceller": lambda: client.cancel(run.id)}
    return Scene(acts, {"cancelled"}, [run.id])


def finish_x_force_fail() -> Scene:
    run = programs.atomic_once.start()
    acts = {"worker": _pass(run), "operator": lambda: client.force_fail(run.id, "no")}
    return Scene(acts, {"completed", "failed"}, [run.id])


def finish_x_force_complete() -> Scene:
    run = programs.atomic_once.start()
    acts = {"worker": _pass(run), "operator": lambda: client.force_complete(run.id, "by hand")}
    return Scene(acts, {"completed"}, [run.id])


def force_fail_x_force_complete() -> Scene:
    run = programs.signal.start()
    _work()
    acts = {
        "one": lambda: client.force_fail(run.id, "no"),
        "other": lambda: client.force_complete(run.id, "by hand"),
    }
    return Scene(acts, {"completed", "failed"}, [run.id], agree=_one_wins)


def claim_x_wake_now() -> Scene:
    run = programs.sleep.start(60)
    _work()
    acts = {"worker": _claim(run), "operator": lambda: client.wake_now(run.id)}
    return Scene(acts, {"completed"}, [run.id])


def claim_x_edit_input() -> Scene:
    """The new input is what it begins with, or the editor is told that it has begun."""
    run = programs.sleep.using(delay=timedelta(0)).start(60)

    def agree(outcomes: Outcomes) -> list[str]:
        was_edited = not isinstance(outcomes["editor"], ExecutionConflict)
        status = Execution.objects.values_list("status", flat=True).get(pk=run.id)
        return [f"edited: {was_edited}, but it is {status}"] if was_edited != (status != "sleeping") else []

    acts = {"worker": _claim(run), "editor": lambda: client.edit_input(run.id, [0])}
    return Scene(acts, {"completed", "sleeping"}, [run.id], agree=agree)


def park_x_change_deadline() -> Scene:
    """The deadline is past when it comes: the worker that parks without it looks again."""
    run = programs.signal.start()
    acts = {"worker": _pass(run), "operator": lambda: client.change_deadline(run.id, -HOUR)}
    return Scene(acts, {"timed_out"}, [run.id])


def park_x_reassign() -> Scene:
    run = programs.sleep.start(0)
    acts = {"worker": _pass(run), "operator": lambda: client.reassign(run.id, priority="high")}
    return Scene(acts, {"completed"}, [run.id])


def _one_wins(outcomes: Outcomes) -> list[str]:
    refused = sum(isinstance(outcome, ExecutionConflict) for outcome in outcomes.values())
    return [] if refused == 1 else [f"{refused} were refused"]


PAIRS = {
    "park x pause": (park_x_pause, 5),
    "finish x pause": (finish_x_pause, 5),
    "rest x resume": (rest_x_resume, 5),
    "resume x signal": (paused_x_signal_x_resume, 4),
    "resume x resume": (resume_x_resume, 2),
    "pause x cancel": (pause_x_cancel, 4),
    "finish x force fail": (finish_x_force_fail, 5),
    "finish x force complete": (finish_x_force_complete, 5),
    "force fail x force complete": (force_fail_x_force_complete, 2),
    "claim x wake now": (claim_x_wake_now, 4),
    "claim x edit input": (claim_x_edit_input, 3),
    "park x change deadline": (park_x_change_deadline, 5),
    "park x reassign": (park_x_reassign, 4),
}
