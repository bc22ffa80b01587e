"""The hot statements do what their words in the ORM do."""

from dataclasses import asdict
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from django_durable import workflow
from django_durable.engine import claims, statements
from django_durable.engine.history import FIELDS, Checkpoint
from django_durable.models import Step, Timer

LEASE = timedelta(seconds=30)


@pytest.fixture
def flow():
    @workflow("statements.flow")
    def flow(ctx):
        return None

    return flow


def checkpoint(claim, **values):
    given = {"position": 0, "name": "a", "kind": "step", "started_at": claim.now(), "finished_at": claim.now()}
    return Checkpoint(**{**given, **values})


def insert(claim, row, *, token=None, wake_seq=None):
    values = [("execution", claim.execution_id), *asdict(row).items()]
    return statements.insert_checkpoint("default", values, token=token or claim.token, wake_seq=wake_seq)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the only database that claims in one statement")
def test_a_claim_in_one_statement_equals_the_claim_in_two(durable, flow):
    first, second = flow.start(), flow.start()
    options = {"token": uuid4(), "holder": "here:1:1", "lease": LEASE}
    one = statements.claim_returning("default", execution_id=first.id, queue=None, **options)
    two = claims.claim_then_read("default", execution_id=second.id, **options)
    assert one[1:] == two[1:]
    columns = ("queue", "priority", "due_at", "token", "holder", "wake_seq", "claims", "progress", "held")
    assert len(set(Timer.objects.values_list(*columns))) == 1


def test_a_recorded_checkpoint_equals_one_that_the_orm_creates(durable, flow):
    text = 'a "quoted" 100% \\ line\nwith ünïcode'
    claim = claims.take(flow.start().id, using="default")
    row = checkpoint(claim, target="t", result=text, error=text, attempts=3, due_at=claim.now())
    assert insert(claim, row)
    ours = Step.objects.values(*FIELDS).get()
    Step.objects.all().delete()
    Step.objects.create(execution_id=claim.execution_id, **asdict(row))
    assert Step.objects.values(*FIELDS).get() == ours == asdict(row)


def test_nothing_is_recorded_under_another_token(durable, flow):
    claim = claims.take(flow.start().id, using="default")
    assert not insert(claim, checkpoint(claim), token=uuid4())
    assert Step.objects.count() == 0


def test_nothing_is_recorded_when_news_has_come(durable, flow):
    claim = claims.take(flow.start().id, using="default")
    Timer.objects.filter(pk=claim.execution_id).bump()
    assert not insert(claim, checkpoint(claim), wake_seq=claim.wake_seq)
    assert insert(claim, checkpoint(claim), wake_seq=claim.wake_seq + 1)


def test_the_next_due_is_the_oldest_of_the_highest_priority(durable, flow):
    flow.using(priority="normal").start()
    durable.clock.advance(timedelta(seconds=1))
    oldest = flow.using(priority="high").start()
    durable.clock.advance(timedelta(seconds=1))
    flow.using(priority="high").start()
    flow.using(priority="high", delay=60).start()
    assert statements.find_due("default", "default") == oldest.id
    assert statements.find_due("default", "elsewhere") is None


def test_overdue_queues_are_named_in_one_statement(durable, flow, django_assert_num_queries):
    flow.start()
    with django_assert_num_queries(1):
        assert statements.any_due("default", ["default", "elsewhere"]) == ["default"]


@pytest.mark.django_db(transaction=True)
def test_the_database_s_clock_is_utc_and_near_ours():
    from django_durable import clock

    sql, params = statements.now_sql(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", params)
        found = cursor.fetchone()[0]
    text = str(found).replace("+00:00", "")[:19]
    assert abs((clock.datetime.fromisoformat(text) - clock.now().replace(tzinfo=None)).total_seconds()) < 60
