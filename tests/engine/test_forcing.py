"""Ends by hand: complete rows, told parents, and a worker that can record nothing more."""

import pytest

from django_durable import ChildFailed, CodecError, ExecutionFailedError, client, workflow
from django_durable.engine import claims
from django_durable.models import AuditEntry, Execution, Status, Timer
from tests.standing import bring, register


@pytest.fixture
def standing(durable):
    return register()


def test_a_forced_failure_has_its_message_time_and_author(standing):
    execution = bring(standing, Status.WAITING)
    client.force_fail(execution, "the supplier is gone", actor="ada", reason="ticket 7")
    row = Execution.objects.get(pk=execution.pk)
    assert (row.status, row.error_type) == (Status.FAILED, "django_durable.exceptions.ForcedFailure")
    assert row.finished_at is not None
    assert not Timer.objects.exists()
    entry = AuditEntry.objects.about(execution.pk).last()
    assert (entry.kind, entry.actor, entry.reason) == ("force_failed", "ada", "ticket 7")
    assert entry.after["status"] == "failed"
    with pytest.raises(ExecutionFailedError, match="the supplier is gone"):
        client.result(execution)


def test_a_forced_completion_gives_its_result(standing):
    execution = bring(standing, Status.STUCK)
    client.force_complete(execution, {"paid": True})
    row = Execution.objects.get(pk=execution.pk)
    assert (row.status, row.stuck_reason, row.error) == (Status.COMPLETED, "", None)
    assert client.result(execution) == {"paid": True}


def test_a_result_that_cannot_be_stored_is_refused(standing):
    execution = bring(standing, Status.WAITING)
    with pytest.raises(CodecError):
        client.force_complete(execution, object())
    assert client.get(execution).status == Status.WAITING


@pytest.mark.parametrize("by", ["force_fail", "force_complete"])
def test_a_parent_that_waits_hears_of_it(durable, standing, by):
    @workflow("parent")
    def parent(ctx):
        try:
            return ctx.call(standing, "waiting")
        except ChildFailed as failed:
            return failed.message

    execution = parent.start()
    durable.run_until_idle()
    child = Execution.objects.get(parent_id=execution.id)
    getattr(client, by)(child, "by hand")
    assert durable.run(execution) == "by hand"


def test_a_worker_on_it_records_nothing_more(standing):
    execution = standing.start("completed")
    claim = claims.take(execution.id, using="default")
    client.force_fail(execution, "no")
    assert not claim.timers().exists()
    assert client.get(execution).status == Status.FAILED
