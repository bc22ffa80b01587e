"""Deleting by hand: all of it, with who did it; nothing that somebody still reads."""

from datetime import timedelta

import pytest

from django_durable import ExecutionConflict, ExecutionNotFoundError, client, workflow
from django_durable.models import AuditEntry, Execution, Signal, Step
from tests.standing import bring, register


@pytest.fixture
def standing(durable):
    return register()


def test_it_goes_with_its_history_and_its_audit_trail_stays(standing):
    execution = bring(standing, "failed")
    client.delete(execution, actor="ada", reason="a test")
    assert not Execution.objects.exists()
    assert not Step.objects.exists()
    entry = AuditEntry.objects.about(execution.pk).last()
    assert (entry.kind, entry.actor, entry.reason, entry.before["status"]) == ("deleted", "ada", "a test", "failed")
    with pytest.raises(ExecutionNotFoundError):
        client.delete(execution)


def test_its_key_is_free(standing):
    client.delete(bring(standing, "failed"))
    bring(standing, "failed")
    assert Execution.objects.count() == 1


def test_a_child_of_an_open_parent_stays(durable, standing):
    @workflow("parent")
    def parent(ctx):
        ctx.start_child(standing, "completed")
        ctx.sleep(timedelta(days=1))

    parent.start()
    durable.run_until_idle()
    child = Execution.objects.get(workflow="standing")
    with pytest.raises(ExecutionConflict, match="still read"):
        client.delete(child)
    assert client.get(child).status == "completed"
    durable.advance(timedelta(days=1))
    client.delete(child)


def test_children_that_outlive_it_have_no_parent_then(durable, standing):
    @workflow("parent")
    def parent(ctx):
        ctx.start_child(standing.using(on_parent_close="abandon"), "waiting")

    execution = parent.start()
    durable.run_until_idle()
    client.delete(execution)
    child = Execution.objects.get(workflow="standing")
    assert (child.parent_id, child.status) == (None, "waiting")
    client.signal(child, "go")
    durable.run_until_idle()
    assert not Signal.objects.filter(consumed_by="").exists()


def test_a_caller_who_rolls_back_has_deleted_nothing(standing):
    from django.db import transaction

    execution = bring(standing, "failed")
    with pytest.raises(RuntimeError), transaction.atomic():
        client.delete(execution)
        raise RuntimeError
    assert client.get(execution).status == "failed"
