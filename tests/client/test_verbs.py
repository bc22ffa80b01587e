"""Every verb in every status: what the table of ``client.verbs()`` says is what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_durable import ExecutionConflict, client
from django_durable.models import AuditEntry, Execution, Status, Step, StepStatus, Timer
from tests.standing import LONG, bring, register


def skip_step(execution: Execution) -> None:
    """Once there is one to skip."""
    is_open = {"status": StepStatus.RETRYING, "finished_at": None, "result": None}
    Step.objects.filter(execution_id=execution.id, name="before").update(**is_open)
    client.skip_step(execution, "before")


CALLS: dict[str, Callable[[Execution], Any]] = {
    "cancel": client.cancel,
    "change_deadline": lambda execution: client.change_deadline(execution, LONG),
    "delete": client.delete,
    "edit_input": lambda execution: client.edit_input(execution, ["other"]),
    "force_complete": lambda execution: client.force_complete(execution, {"by": "hand"}),
    "force_fail": lambda execution: client.force_fail(execution, "never mind"),
    "fork": lambda execution: client.fork(execution, 0),
    "patch_step": lambda execution: client.patch_step(execution, "before", "by hand"),
    "pause": client.pause,
    "reassign": lambda execution: client.reassign(execution, priority="high", labels={"by": "hand"}),
    "resolve_compensation": client.resolve_compensation,
    "restart": client.restart,
    "resume": client.resume,
    "retry": client.retry,
    "retry_compensation": client.retry_compensation,
    "signal": lambda execution: client.signal(execution, "go"),
    "skip_compensation": client.skip_compensation,
    "skip_step": skip_step,
    "terminate": client.terminate,
    "wake_now": client.wake_now,
    "update": lambda execution: client.send_update(execution, "rename", "it"),
}

# Accepted in that status, if the verb's condition holds: here it does not.
OTHERWISE = {("wake_now", Status.WAITING), ("wake_now", Status.STUCK), ("delete", Status.CONTINUED)}


@pytest.fixture
def standing(durable):
    return register()


def told() -> list[tuple[Any, ...]]:
    """All that a refused verb must leave as it is."""
    rows = Execution.objects.order_by("pk").values_list()
    return [*rows, *Timer.objects.order_by("pk").values_list(), ("entries", AuditEntry.objects.count())]


def test_every_verb_is_tried():
    assert {verb.name for verb in client.verbs()} == set(CALLS)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_verb_is_accepted_where_its_table_says_so(standing, name, status):
    (verb,) = (verb for verb in client.verbs() if verb.name == name)
    execution = bring(standing, status)
    if status == Status.CONTINUED and status not in verb.accepts:
        execution = client.latest(execution)  # to which the order is handed on
    before, stored = told(), Status(Execution.objects.get(pk=execution.pk).status)
    accepted = stored in verb.accepts and (verb.while_running or status != Status.RUNNING)
    accepted = accepted and (name, status) not in OTHERWISE
    if accepted:
        entries = AuditEntry.objects.about(execution.pk)
        earlier = set(entries.values_list("pk", flat=True))
        CALLS[name](execution)
        new = [entry.kind for entry in entries if entry.pk not in earlier]
        assert new == ([verb.done] if verb.done and (name, status) != ("cancel", Status.CANCELLING) else [])
    else:
        with pytest.raises(ExecutionConflict):
            CALLS[name](execution)
        assert told() == before
