"""The audit trail: which entries each level keeps, what they cost, and that they go with the change they tell."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext

from django_durable import Retry, SignalType, client, signals, step, workflow
from django_durable.conf import AUDIT_LEVELS
from django_durable.engine import claims, transitions, worker
from django_durable.engine.advance import advance
from django_durable.engine.audit import audit
from django_durable.models import AuditEntry, AuditKind, Execution, Signal, Step, Timer, audit_level
from tests.authoring import NO_BROKER, Deployed, no_op

HOUR = timedelta(hours=1)
APPROVED = SignalType("approved")


class Broken(Exception):
    pass


@step(retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))
def fails():
    raise Broken("secret of the customer")


@pytest.fixture
def level(settings):
    def set_(name):
        settings.DURABLE = {**NO_BROKER, "AUDIT": name}

    return set_


def told(execution, *names):
    """The entries' kinds, or the values of those columns, in order."""
    entries = AuditEntry.objects.about(execution.id)
    return list(entries.values_list(*(names or ["kind"]), flat=len(names) < 2))


def story(ctx, small):
    """One of everything: a step, a failing one, a sleep, a signal, a child, a branch, an event."""
    ctx.step("first", no_op)
    try:
        ctx.step(fails)
    except Exception:
        ctx.note("went on")
    ctx.sleep(60)
    ctx.state.set(phase="waiting")
    ctx.wait_for_signal(APPROVED)
    ctx.wait_for_signal("never", timeout=60)
    ctx.wait_until(lambda state: True)
    ctx.wait_for_execution(ctx.start_child(small))
    ctx.switch("way", "left", {"left": no_op})
    ctx.race({"only": no_op})
    ctx.emit("story.ended")


@pytest.fixture
def play(durable, level):
    """Play the story at a level; the execution."""

    @workflow("small")
    def small(ctx):
        return 1

    def play(name):
        level(name)
        execution = Deployed("flow", lambda ctx: story(ctx, small)).workflow.start()
        durable.run_until_idle()
        durable.advance(HOUR)
        client.signal(execution, APPROVED)
        durable.advance(HOUR)
        durable.run_until_idle()
        assert client.get(execution).status == "completed"
        return execution

    return play


# -- what is kept --------------------------------------------------------------------------------------


def test_by_default_a_run_that_completes_leaves_no_entry(play):
    assert told(play("default")) == []


def test_transitions_are_kept_from_the_start_to_the_end(play):
    kinds = told(play("transitions"))
    assert kinds[0] == "started"
    assert kinds[-1] == "completed"
    assert set(kinds[1:-1]) == {"parked"}


def test_steps_are_kept_with_everything_that_was_recorded(play):
    kinds = [kind for kind in told(play("steps")) if audit_level(kind) == "steps"]
    assert kinds == [
        "step_completed",
        "step_retried",
        "step_retried",
        "step_failed",
        "noted",
        "sleep_scheduled",
        "sleep_completed",
        "state_changed",
        "signal_awaited",
        "signal_received",
        "signal_consumed",
        "signal_awaited",
        "signal_timed_out",
        "condition_settled",
        "child_started",
        "child_awaited",
        "child_ended",
        "branch_chosen",
        "race_won",
        "event_emitted",
    ]


def test_each_attempt_has_an_entry_with_the_class_of_its_error_and_no_message(play):
    execution = play("steps")
    failed = AuditEntry.objects.about(execution.id).filter(kind__in=["step_retried", "step_failed"])
    assert [entry.after["attempt"] for entry in failed] == [1, 2, 3]
    assert {entry.after["error_type"] for entry in failed} == {f"{__name__}.Broken"}
    assert "secret" not in str(list(AuditEntry.objects.values()))


def test_each_level_keeps_what_the_one_below_it_does(play):
    kept = [set(told(play(name))) for name in AUDIT_LEVELS]
    assert kept[0] <= kept[1] <= kept[2]
    for kinds, name in zip(kept, AUDIT_LEVELS, strict=True):
        allowed = AUDIT_LEVELS[: AUDIT_LEVELS.index(name) + 1]
        assert {audit_level(kind) for kind in kinds} <= set(allowed)
        assert kinds <= set(AuditKind)


def test_an_attempt_that_took_too_long_says_so(durable, level):
    level("steps")

    @step(timeout=1, retry=Retry(max_attempts=2, initial_seconds=60))
    def slow():
        durable.clock.advance(timedelta(seconds=2))

    execution = Deployed("flow", lambda ctx: ctx.step(slow)).workflow.start()
    durable.advance(HOUR)
    timed_out = AuditEntry.objects.about(execution.id).filter(kind="step_timed_out")
    assert [entry.after["status"] for entry in timed_out] == ["retrying", "failed"]


def test_what_is_undone_is_told_attempt_by_attempt_and_by_whom_it_was_helped(durable, level):
    level("steps")
    works = []

    @step(name="undo", retry=Retry(max_attempts=2, initial_seconds=60))
    def undo(result):
        if not works:
            raise Broken

    def code(ctx):
        ctx.step("pay", no_op, compensate=undo)
        raise Broken

    execution = Deployed("flow", code).workflow.start()
    durable.advance(HOUR)
    works.append(True)
    client.retry_compensation(execution, actor="ada", reason="mended")
    durable.run_until_idle()
    assert told(execution)[2:] == [
        "compensation_started",
        "compensating",
        "compensation_attempt_failed",
        "parked",
        "compensation_gave_up",
        "stuck_compensation",
        "compensation_retried",
        "unstuck",
        "compensation_completed",
        "failed",
    ]
    entry = AuditEntry.objects.get(kind="compensation_retried")
    assert (entry.actor, entry.reason) == ("ada", "mended")
    assert entry.after == {"name": "rollback:pay", "status": "retrying"}


def test_a_map_and_a_cancellation_are_told(durable, level):
    level("steps")

    @workflow("item")
    def item(ctx, number):
        ctx.wait_for_signal("go")

    def code(ctx):
        ctx.map(item, [1, 2])

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    client.cancel(execution, actor="ada")
    durable.run_until_idle()
    kinds = told(execution)
    assert kinds[-1] == "cancelled"
    assert {"child_started", "child_awaited", "cancel_requested", "call_interrupted"} <= set(kinds)
    for child in Execution.objects.filter(parent=execution.id):
        assert told(child)[0] == "started"
        assert told(child)[-1] == "cancelled"


def test_before_and_after_say_what_was_changed(durable, level):
    level("transitions")
    execution = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow.start()
    durable.run_until_idle()
    client.cancel(execution)
    durable.run_until_idle()
    changes = {kind: (before, after) for kind, before, after in told(execution, "kind", "before", "after")}
    assert changes["started"] == ({}, {"status": "pending", "workflow": "flow", "version": 1})
    assert changes["parked"][1] == {"status": "waiting", "waiting_for": "signal go", "waiting_until": None}
    assert changes["cancel_requested"][0]["status"] == "waiting"
    assert changes["cancel_requested"][1] == {"status": "cancelling"}
    assert changes["cancelled"] == ({"status": "cancelling"}, {"status": "cancelled"})


def test_what_goes_on_as_another_execution_names_it(durable, level):
    level("transitions")

    def code(ctx, number):
        if number:
            ctx.continue_as_new(number - 1)

    execution = Deployed("flow", code).workflow.start(1)
    durable.run_until_idle()
    last = client.latest(execution)
    assert told(execution) == ["started", "continued"]
    assert told(execution, "after")[-1] == {"status": "continued", "as": str(last.id)}
    assert told(last) == ["started", "completed"]


# -- leases --------------------------------------------------------------------------------------------


def test_a_lease_that_ran_out_is_told_by_the_loser_and_by_who_takes_over(durable, level):
    level("transitions")
    execution = Deployed("flow", no_op).workflow.start()
    lost = claims.take(execution.id, using="default")
    durable.advance(HOUR)
    advance(lost)
    kinds = told(execution)
    assert kinds == ["started", "lease_recovered", "completed", "lease_lost"]
    assert AuditEntry.objects.get(kind="lease_recovered").after == {"claims": 2}


def test_who_has_lost_the_lease_again_does_not_tell_that_it_took_over(durable, level):
    level("transitions")
    execution = Deployed("flow", no_op).workflow.start()
    claims.take(execution.id, using="default")
    durable.clock.advance(HOUR)
    late = claims.take(execution.id, using="default")
    Timer.objects.update(token=uuid.uuid4())
    advance(late)
    assert "lease_recovered" not in told(execution)


@pytest.mark.django_db(transaction=True)
def test_a_lease_that_was_given_back_is_not_recovered(level):
    level("transitions")
    execution = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow.start()
    for _ in range(2):
        worker.drain("default", using="default")
        client.signal(execution, "other")
    worker.drain("default", using="default")
    assert set(told(execution)) == {"started", "parked"}


# -- with the change, or not at all --------------------------------------------------------------------


@pytest.fixture
def no_entries(monkeypatch):
    """No entry can be written, once this is called."""

    def refuse(*args, **kwargs):
        raise DataError

    return lambda: monkeypatch.setattr(AuditEntry, "save", refuse)


@pytest.mark.django_db(transaction=True)
def test_a_start_whose_entry_cannot_be_written_is_not_made(level, no_entries):
    level("transitions")
    no_entries()
    with pytest.raises(DataError):
        Deployed("flow", no_op).workflow.start()
    assert not Execution.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_signal_whose_entry_cannot_be_written_is_not_accepted(level, no_entries):
    level("steps")
    execution = Deployed("flow", no_op).workflow.start()
    no_entries()
    with pytest.raises(DataError):
        client.signal(execution, "go")
    assert not Signal.objects.exists()
    assert Timer.objects.get().wake_seq == 0


@pytest.mark.django_db(transaction=True)
def test_a_step_whose_entry_cannot_be_written_is_not_recorded(level, no_entries):
    level("steps")
    execution = Deployed("flow", lambda ctx: ctx.step(no_op)).workflow.start()
    no_entries()
    with pytest.raises(DataError):
        worker.advance_one(execution.id, using="default")
    assert not Step.objects.exists()
    assert Timer.objects.get().token is not None  # to be taken over when the lease ends


# -- acts of people ------------------------------------------------------------------------------------


@pytest.fixture
def acts():
    heard = []

    def receiver(**facts):
        heard.append((facts["verb"], facts["actor"], facts["reason"]))

    signals.operator_acted.connect(receiver)
    yield heard
    signals.operator_acted.disconnect(receiver)


@pytest.mark.parametrize("name", AUDIT_LEVELS)
def test_what_people_do_is_kept_and_told_at_every_level(durable, level, acts, name, django_capture_on_commit_callbacks):
    level(name)
    execution = Deployed("flow", no_op).workflow.start()
    with django_capture_on_commit_callbacks(execute=True):
        client.cancel(execution, actor="ada", reason="wrong order")
        client.terminate(execution, actor="bob", reason="now")
    assert acts == [("cancel_requested", "ada", "wrong order"), ("terminated", "bob", "now")]
    assert {"cancel_requested", "terminated"} <= set(told(execution))


def test_a_verb_of_another_name_is_an_act_too(durable, level, acts, django_capture_on_commit_callbacks):
    level("default")
    execution = Deployed("flow", no_op).workflow.start()
    with django_capture_on_commit_callbacks(execute=True):
        audit("default", execution.id, kind="paused", actor="ada", before={"status": "pending"})
        audit("default", execution.id, kind=AuditKind.STUCK_POISON)
    assert acts == [("paused", "ada", "")]
    assert told(execution) == ["paused", "stuck_poison"]


def test_it_can_be_called_from_where_it_was(durable):
    assert transitions.audit is audit


# -- what each level costs -----------------------------------------------------------------------------

COSTS = {  # statements more than at "default", for one of each
    "start": {"transitions": 1, "steps": 1},
    "step": {"transitions": 0, "steps": 1},
    "park": {"transitions": 1, "steps": 2},
    "signal": {"transitions": 0, "steps": 1},
    "end": {"transitions": 1, "steps": 1},
}


def statements(work):
    with CaptureQueriesContext(connection) as queries:
        work()
    transactional = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET ")
    return len([query for query in queries if not query["sql"].startswith(transactional)])


def costs_of_one_story():
    """Of each part of a run with one step and one wait."""

    def code(ctx, steps, waits):
        for _ in range(steps):
            ctx.step("a", no_op)
        if waits:
            ctx.wait_for_signal("go")

    flow = Deployed("flow", code).workflow

    def run(steps, waits):
        execution = flow.start(steps, waits)
        return execution, statements(lambda: worker.advance_one(execution.id, using="default"))

    run(1, False)  # what is prepared once
    start = statements(lambda: flow.start(0, False))
    plain, stepped = run(0, False)[1], run(1, False)[1]
    execution, parked = run(0, True)
    signal = statements(lambda: client.signal(execution, "go"))
    return {"start": start, "step": stepped - plain, "park": parked, "signal": signal, "end": plain}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", AUDIT_LEVELS[1:])
def test_what_a_level_costs(level, name):
    level("default")
    without = costs_of_one_story()
    level(name)
    with_it = costs_of_one_story()
    more = {part: with_it[part] - without[part] for part in COSTS}
    expected = {part: costs[name] for part, costs in COSTS.items()}
    if connection.vendor == "postgresql":  # an end takes its entry along
        expected["end"] -= 1
    assert more == expected
