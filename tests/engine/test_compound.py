"""Starts and ends written in one statement leave the rows that the ORM would leave."""

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from django_durable import clock
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, compound
from django_durable.models import AuditEntry, Execution, Signal, Timer
from tests.authoring import Deployed, no_op

USING = "default"


@pytest.fixture
def flow(durable):
    return Deployed("flow", no_op).workflow


def execution(**values):
    given = {
        "workflow": "flow",
        "input": '[1,{"args":["100 % ü"],"kwargs":{}}]',
        "input_hash": "0" * 64,
        "labels": {"city": "Köln", "n": [1, None]},
        "created_at": DatabaseNow(),
        "deadline_at": DatabaseNow() + timedelta(seconds=1.25),
    }
    if values.get("key") is not None:
        given["key_scope"] = values.get("workflow", "flow")
    return Execution(**given | values)


def timer(of, **values):
    return Timer(**{"execution_id": of.id, "queue": "default", "priority": 2, "due_at": DatabaseNow(), **values})


def row(model, **where):
    """A row's values, without what two rows never share."""
    (values,) = model.objects.filter(**where).values()
    return {name: value for name, value in values.items() if name not in {"id", "execution_id", "key"}}


@pytest.mark.parametrize(
    "values",
    [{}, {"key": "k"}, {"key": "it's 100 %", "deadline_at": None, "labels": {}, "subject_type": "shop.order"}],
    ids=["everything", "key", "little"],
)
def test_a_start_is_inserted_as_the_orm_does(durable, values):
    raw = execution(**values)
    assert compound.insert_execution(raw, timer(raw, held=True), using=USING)
    reference = execution(**values | ({"key": "another"} if "key" in values else {}))
    reference.save(force_insert=True)
    timer(reference, held=True).save(force_insert=True)
    assert row(Execution, pk=raw.pk) == row(Execution, pk=reference.pk)
    assert row(Timer, pk=raw.pk) == row(Timer, pk=reference.pk)
    assert Execution.objects.get(pk=raw.pk).key == values.get("key")
    assert (raw._state.adding, raw._state.db) == (False, USING)


def test_a_taken_key_writes_nothing_and_leaves_the_callers_transaction_whole(durable):
    first, second, other = execution(key="k"), execution(key="k"), execution(key="k", workflow="other")
    assert compound.insert_execution(first, timer(first), using=USING)
    with transaction.atomic():
        assert not compound.insert_execution(second, timer(second), using=USING)
        assert compound.insert_execution(other, timer(other), using=USING)
    assert set(Execution.objects.values_list("pk", flat=True)) == {first.pk, other.pk}
    assert Timer.objects.count() == 2


def test_an_end_is_written_as_the_orm_does(flow, monkeypatch):
    at = clock.now()
    changes = {"status": "failed", "result": None, "error": '[1,"100 %"]', "error_type": "x", "finished_at": at}

    def close(run):
        claim = claims.take(run.id, using=USING)
        told = AuditEntry(execution_id=run.id, kind="failed", before={"status": "pending"}, created_at=DatabaseNow())
        with transaction.atomic():
            return compound.close_execution(run, changes, told, token=claim.token, using=USING)

    here, reference = flow.start(), flow.start()
    assert close(here)
    monkeypatch.setattr(connection, "vendor", "the ORM's")
    monkeypatch.setattr(claims, "_claim", lambda *_, **__: Timer.objects.get(pk=reference.pk))
    Timer.objects.filter(pk=reference.pk).update(token=uuid.uuid4(), holder="me")
    assert close(reference)
    monkeypatch.undo()
    for model in (Execution, AuditEntry):
        name = "pk" if model is Execution else "execution_id"
        assert row(model, **{name: here.pk}) == row(model, **{name: reference.pk})
    assert not Timer.objects.exists()


def test_an_end_needs_the_lease(flow):
    run = flow.start()
    claims.take(run.id, using=USING)
    told = AuditEntry(execution_id=run.id, kind="completed", created_at=DatabaseNow())
    changes = {"status": "completed", "finished_at": clock.now()}
    with transaction.atomic():
        assert not compound.close_execution(run, changes, told, token=uuid.uuid4(), using=USING)
    assert Execution.objects.get(pk=run.pk).status == "pending"
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others need a transaction for it")
def test_a_start_and_an_end_are_one_statement_each(polling, django_assert_num_queries):

    flow = Deployed("flow", no_op).workflow
    with django_assert_num_queries(1):
        run = flow.start()
    with django_assert_num_queries(1):
        flow.using(key="k").start()
    claim = claims.take(run.id, using=USING)
    with django_assert_num_queries(1), compound.whole(USING):
        told = AuditEntry(execution_id=run.id, kind="completed", created_at=DatabaseNow())
        changes = {"status": "completed", "finished_at": clock.now()}
        assert compound.close_execution(run, changes, told, token=claim.token, using=USING)


# -- signals -------------------------------------------------------------------------------------------


def signal(run, **values):
    given = {"name": "go", "payload": '[1,"100 % ü"]', "accepted_at": DatabaseNow()}
    return Signal(execution_id=run.id, **given | values)


def accept(made):
    with compound.whole(USING):
        return compound.accept_signal(made, using=USING)


@pytest.mark.parametrize(
    "state",
    [
        {"due_at": None},
        {"due_at": clock.now() + timedelta(hours=1), "held": True},
        {"token": uuid.UUID(int=7), "holder": "me", "due_at": clock.now() + timedelta(hours=1)},
        {"wake_seq": 41},
    ],
    ids=["waits", "held", "runs", "due"],
)
@pytest.mark.parametrize("signal_id", [None, "s-1"])
def test_a_signal_is_stored_and_announced_as_the_orm_does(flow, monkeypatch, state, signal_id):
    raw, reference = flow.start(), flow.start()
    Timer.objects.update(**state)
    assert accept(signal(raw, signal_id=signal_id)) == ("default", True)
    monkeypatch.setattr(connection, "vendor", "the ORM's")
    with transaction.atomic():
        assert compound.accept_signal(signal(reference, signal_id=signal_id), using=USING) == ("default", True)
    monkeypatch.undo()
    assert row(Signal, execution_id=raw.pk) == row(Signal, execution_id=reference.pk)
    assert row(Timer, pk=raw.pk) == row(Timer, pk=reference.pk)
    assert Signal.objects.get(execution_id=raw.pk).seq == state.get("wake_seq", 0) + 1


def test_a_repeated_signal_is_stored_once(flow):
    run = flow.start()
    assert [accept(signal(run, signal_id="s")) for _ in range(2)] == [("default", True), ("default", False)]
    assert accept(signal(run)) == ("default", True)
    assert list(Signal.objects.order_by("seq").values_list("seq", "signal_id")) == [(1, "s"), (3, None)]


def test_without_a_timer_no_signal_is_stored(flow):
    run = flow.start()
    Timer.objects.all()._raw_delete(using=USING)
    assert accept(signal(run)) is None
    assert not Signal.objects.exists()


# -- inside the caller's transaction -------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others have a savepoint")
def test_an_error_that_the_caller_catches_undoes_its_transaction_and_says_so(polling):
    """PostgreSQL answers the COMMIT of a broken transaction with a ROLLBACK and no error; Django has to know."""
    flow, refused, sent = Deployed("flow", no_op).workflow, execution(status="no such"), []
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        kept = flow.start()
        transaction.on_commit(lambda: sent.append(kept))
        with pytest.raises(DatabaseError):
            compound.insert_execution(refused, timer(refused), using=USING)
        Execution.objects.exists()
    assert sent == []
    assert not Execution.objects.exists()
