"""What a person changes about an open execution: its clock, its deadline, its input, where it runs."""

from datetime import timedelta

import pytest

from django_durable import CodecError, ExecutionConflict, InvalidOptionError, Retry, client, step, workflow
from django_durable.models import AuditEntry, Execution, Priority, Status, Timer
from tests.standing import LONG, bring, register

HOUR = timedelta(hours=1)


@pytest.fixture
def standing(durable):
    return register()


def status_of(execution):
    return Execution.objects.get(pk=execution.id).status


# -- wake_now ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.PENDING, Status.SLEEPING])
def test_what_a_clock_would_bring_is_brought_now(durable, standing, status):
    execution = bring(standing, status)
    client.wake_now(execution)
    durable.run_until_idle()
    assert status_of(execution) == Status.COMPLETED


def test_a_back_off_is_over(durable):
    tries = []

    @workflow("flow")
    def flow(ctx):
        ctx.step(step(name="one", retry=Retry(max_attempts=2, initial_seconds=LONG, maximum_seconds=LONG))(body))

    def body():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    execution = flow.start()
    durable.run_until_idle()
    client.wake_now(execution)
    durable.run_until_idle()
    assert (status_of(execution), len(tries)) == (Status.COMPLETED, 2)


def test_a_wait_for_a_signal_is_no_matter_of_clocks(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_for_signal("go", timeout=HOUR)

    execution = flow.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="signal go"):
        client.wake_now(execution)


# -- change_deadline -----------------------------------------------------------------------------------


def test_a_deadline_that_comes_nearer_is_kept(durable, standing):
    execution = bring(standing, Status.WAITING)
    client.change_deadline(execution, HOUR)
    durable.run_until_idle()
    durable.advance(HOUR)
    assert status_of(execution) == Status.TIMED_OUT


def test_a_deadline_that_is_lifted_does_not_come(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_for_signal("go")

    execution = flow.using(timeout=HOUR).start()
    durable.run_until_idle()
    client.change_deadline(execution, None)
    durable.advance(2 * HOUR)
    assert status_of(execution) == Status.WAITING


def test_a_deadline_that_is_none_is_refused(standing):
    execution = bring(standing, Status.WAITING)
    with pytest.raises(InvalidOptionError, match="datetime"):
        client.change_deadline(execution, 5)


# -- edit_input ----------------------------------------------------------------------------------------


def test_what_has_not_begun_takes_other_arguments(durable, standing):
    execution = standing.using(delay=HOUR).start("waiting")
    client.edit_input(execution, ["other"], actor="ada", reason="typing error")
    durable.advance(HOUR)
    assert client.result(execution) == "other"
    entry = AuditEntry.objects.about(execution.id).first()
    assert (entry.kind, entry.actor, entry.reason) == ("input_edited", "ada", "typing error")


@pytest.mark.parametrize(("args", "error"), [([], TypeError), ([object()], CodecError)])
def test_arguments_that_do_not_fit_are_refused(standing, args, error):
    execution = bring(standing, Status.PENDING)
    before = Execution.objects.values_list("input").get()
    with pytest.raises(error):
        client.edit_input(execution, args)
    assert Execution.objects.values_list("input").get() == before


# -- reassign ------------------------------------------------------------------------------------------


def test_queue_priority_and_labels_are_changed_and_what_is_not_named_stays(standing, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ["default", "slow"]}
    execution = bring(standing, Status.WAITING)
    client.reassign(execution, queue="slow", priority="low")
    client.reassign(execution, labels={"tenant": "acme"})
    row, timer = Execution.objects.get(pk=execution.pk), Timer.objects.get(pk=execution.pk)
    assert (row.queue, timer.queue, timer.priority, row.labels) == ("slow", "slow", Priority.LOW, {"tenant": "acme"})


@pytest.mark.parametrize("given", [{}, {"queue": "nowhere"}, {"priority": "highest"}, {"labels": {"": ""}}])
def test_a_bad_reassignment_writes_nothing(standing, given):
    execution = bring(standing, Status.WAITING)
    with pytest.raises(InvalidOptionError):
        client.reassign(execution, **given)
    assert not AuditEntry.objects.about(execution.pk).exists()
