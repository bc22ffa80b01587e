"""The hot statements do what their ORM forms do, on every database."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from django_durable import clock
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, statements
from django_durable.engine.history import FIELDS, Checkpoint, columns_of
from django_durable.models import Priority, Step, Timer
from tests.authoring import Deployed, no_op

USING = "default"
LEASE = timedelta(seconds=30)
only_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs UPDATE ... RETURNING")


@pytest.fixture
def flow(durable):
    return Deployed("flow", no_op).workflow


def checkpoint(**values):
    now = clock.now() + timedelta(microseconds=123456)
    given = {
        "position": 3,
        "name": "charge#2",
        "kind": "step",
        "status": "retrying",
        "target": "charge",
        "result": '[1,"100 % \\u0000"]',
        "error": "[1,null]",
        "attempts": 4,
        "started_at": now,
        "due_at": now + timedelta(days=3),
    }
    return Checkpoint(**given | values)


def insert(execution, made, *, token, wake_seq=None):
    return statements.insert_checkpoint(USING, execution.id, made, token=token, wake_seq=wake_seq)


def row(model, execution):
    """A row's values, without what two rows never share."""
    (values,) = model.objects.filter(execution_id=execution.id).values()
    return {name: value for name, value in values.items() if name not in {"id", "execution_id", "token"}}


# -- recording a checkpoint ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [checkpoint, lambda: checkpoint(result=None, error=None, due_at=None, status="completed", finished_at=clock.now())],
    ids=["everything", "nulls"],
)
def test_a_checkpoint_is_inserted_as_the_orm_does(flow, made):
    raw, reference, made = flow.start(), flow.start(), made()
    claim = claims.take(raw.id, using=USING)
    assert insert(raw, made, token=claim.token)
    Step.objects.create(execution_id=reference.id, **columns_of(made) | {"id": uuid.uuid4()})
    assert row(Step, raw) == row(Step, reference)


def test_a_checkpoint_needs_the_lease(flow):
    execution = flow.start()
    assert not insert(execution, checkpoint(), token=uuid.uuid4())
    claim = claims.take(execution.id, using=USING)
    assert not insert(execution, checkpoint(), token=claim.token, wake_seq=1)
    assert not Step.objects.exists()
    assert insert(execution, checkpoint(), token=claim.token, wake_seq=0)


def test_the_lease_of_one_execution_is_none_on_another(flow):
    first, second = flow.start(), flow.start()
    claim = claims.take(first.id, using=USING)
    assert not insert(second, checkpoint(), token=claim.token)


def test_the_unique_keys_are_the_last_defence(flow):
    execution = flow.start()
    claim = claims.take(execution.id, using=USING)
    insert(execution, checkpoint(), token=claim.token)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(execution, checkpoint(name="other"), token=claim.token)


def test_every_column_of_a_step_is_written(flow):
    """A column that is added to the model and not to the statement would silently get its default."""
    assert {"execution", *FIELDS} == {field.name for field in Step._meta.fields}


# -- claiming ------------------------------------------------------------------------------------------


@only_postgres
@pytest.mark.parametrize("by", ["id", "queue"])
def test_a_claim_by_one_statement_is_the_orms_claim(flow, by):
    raw, reference = flow.start(), flow.start()
    Timer.objects.update(wake_seq=5, claims=2, progress=7)
    Timer.objects.filter(pk=raw.id).update(due_at=clock.now() - timedelta(seconds=1))
    given = {"token": uuid.uuid4(), "holder": "somebody", "lease": LEASE}
    where = {"execution_id": raw.id, "queue": None} if by == "id" else {"execution_id": None, "queue": "default"}
    with transaction.atomic():  # one that turns the wait for the disk off for itself
        made = statements.claim_returning(USING, **where, **given)
    wanted = claims.claim_then_read(USING, execution_id=reference.id, **given)
    assert made[0] == raw.id
    assert wanted[0] == reference.id
    assert made[1:] == wanted[1:]
    assert row(Timer, raw) == row(Timer, reference)


@only_postgres
def test_what_is_not_due_is_claimed_by_neither_form(flow):
    execution = flow.start()
    Timer.objects.update(due_at=clock.now() + timedelta(seconds=1))
    given = {"execution_id": execution.id, "token": uuid.uuid4(), "holder": "somebody", "lease": LEASE}
    assert statements.claim_returning(USING, queue=None, **given) is None
    assert claims.claim_then_read(USING, **given) is None
    assert Timer.objects.leased().count() == 0


# -- what is due ---------------------------------------------------------------------------------------


def orms_next_due(queue):
    due = Timer.objects.due().on_queue(queue).order_by("priority", "due_at")
    return due.values_list("pk", flat=True).first()


def test_the_next_due_is_the_orms_first_of_the_whole_order(flow):
    for number, priority in enumerate([Priority.LOW, Priority.NORMAL, Priority.NORMAL, Priority.HIGH, Priority.HIGH]):
        execution = flow.start()
        due_at = clock.now() - timedelta(seconds=number) if number < 4 else clock.now() + timedelta(seconds=9)
        Timer.objects.filter(pk=execution.id).update(priority=priority, due_at=due_at)
    while (wanted := orms_next_due("default")) is not None:
        assert statements.find_due(USING, "default") == wanted
        Timer.objects.filter(pk=wanted).delete()
    assert statements.find_due(USING, "default") is None
    assert Timer.objects.count() == 1


@pytest.mark.parametrize("priority", Priority)
def test_every_priority_counts_as_due(flow, priority):
    execution = flow.start()
    Timer.objects.update(priority=priority)
    assert statements.any_due(USING, ["default"]) == ["default"]
    assert statements.find_due(USING, "default") == execution.id


def test_any_due_names_the_queues_that_have_work(flow, django_assert_num_queries):
    first, second = flow.start(), flow.start()
    Timer.objects.filter(pk=first.id).update(queue="a")
    Timer.objects.filter(pk=second.id).update(queue="b", due_at=clock.now() + timedelta(seconds=1))
    with django_assert_num_queries(1):
        assert statements.any_due(USING, ["default", "b", "a", "it's"]) == ["a"]


def test_the_clock_of_the_statements_is_the_clock_of_the_orm(flow):
    flow.start()
    sql, params = statements.now_sql(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql} {'= %s' if not params else 'IS NOT NULL'}", [*params, *([] if params else [1])])
    assert Timer.objects.filter(due_at=DatabaseNow()).count() == 1
