"""The fenced writer: nothing is recorded without the lease, and news is noticed at every write."""

import uuid
from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_durable import client, workflow
from django_durable.engine import claims, history
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal, consume, fence
from django_durable.exceptions import LeaseLostError
from django_durable.models import Signal, Step, StepStatus, Timer


@pytest.fixture
def journal(durable):
    @workflow("flow")
    def flow(ctx):
        pass

    execution = flow.start()
    return Journal(claims.take(execution.id, using="default"), inbox=[], cancel_requested_at=None)


def checkpoint(journal, **values):
    now = journal.claim.now()
    given = {"position": 0, "name": "a", "kind": "step", "started_at": now, "finished_at": now, "result": "[1,1]"}
    return Checkpoint(**given | values)


def lose(journal):
    """Another worker takes the execution."""
    Timer.objects.update(token=uuid.uuid4())


def test_a_new_checkpoint_is_stored_as_it_is(journal):
    made = checkpoint(journal)
    assert journal.append(made) == made
    assert history.load(journal.claim.execution_id, using="default") == [made]


def test_nothing_is_recorded_without_the_lease(journal):
    lose(journal)
    with pytest.raises(LeaseLostError):
        journal.append(checkpoint(journal))
    assert not Step.objects.exists()


def test_nothing_is_recorded_after_the_end(journal):
    client.terminate(journal.claim.execution_id)
    with pytest.raises(LeaseLostError):
        journal.append(checkpoint(journal))
    assert not Step.objects.exists()


def test_a_position_that_is_taken_means_another_holder(journal):
    journal.append(checkpoint(journal))
    with transaction.atomic(), pytest.raises(LeaseLostError), transaction.atomic():
        journal.append(checkpoint(journal, name="b"))


def test_news_is_noticed_at_the_next_write_which_still_counts(journal):
    client.signal(journal.claim.execution_id, "go", 7)
    client.cancel(journal.claim.execution_id)
    journal.append(checkpoint(journal))
    assert [signal.name for signal in journal.inbox] == ["go"]
    assert journal.cancel_requested_at is not None
    assert journal.claim.wake_seq == 2
    assert Step.objects.count() == 1


def test_without_news_one_statement_records_a_checkpoint(journal, django_assert_num_queries):
    with django_assert_num_queries(1):
        journal.append(checkpoint(journal))


def test_an_open_checkpoint_is_settled_in_place(journal):
    opened = journal.append(checkpoint(journal, status=StepStatus.RETRYING, finished_at=None, result=None))
    settled = checkpoint(journal, id=opened.id)
    journal.settle(settled, is_new=False)
    assert history.load(journal.claim.execution_id, using="default") == [settled]


def test_a_settled_checkpoint_never_changes_again(journal):
    made = journal.append(checkpoint(journal))
    with pytest.raises(LeaseLostError):
        journal.settle(checkpoint(journal, id=made.id, result="[1,2]"), is_new=False)
    assert Step.objects.get().result == "[1,1]"


def test_a_signal_and_the_wait_that_consumes_it_are_one_write(journal):
    client.signal(journal.claim.execution_id, "go", 7)
    journal.renew()
    (pending,) = journal.inbox
    journal.settle(checkpoint(journal), is_new=True, consuming=pending)
    row = Signal.objects.get()
    assert (row.consumed_by, row.consumed_at) == ("a", journal.claim.now())
    assert journal.inbox == []


def test_a_signal_that_somebody_consumed_is_not_consumed_twice(journal):
    client.signal(journal.claim.execution_id, "go", 7)
    journal.renew()
    (pending,) = journal.inbox
    Signal.objects.update(consumed_by="other", consumed_at=journal.claim.now())
    with pytest.raises(LeaseLostError):
        journal.settle(checkpoint(journal), is_new=True, consuming=pending)
    assert not Step.objects.exists()


def test_renewing_without_the_lease_says_so(journal):
    lose(journal)
    with pytest.raises(LeaseLostError):
        journal.renew()


@pytest.mark.parametrize("is_new", [True, False])
def test_an_atomic_steps_writes_go_with_its_lost_lease(journal, is_new):
    made = checkpoint(journal)
    if not is_new:
        journal.append(checkpoint(journal, id=made.id, status=StepStatus.RETRYING, finished_at=None))
    lose(journal)
    with pytest.raises(LeaseLostError), transaction.atomic():
        Group.objects.create(name="undone")
        journal.record_in_transaction(made, is_new=is_new)
    assert not Group.objects.exists()
    assert not Step.objects.filter(status=StepStatus.COMPLETED).exists()


def test_news_does_not_undo_an_atomic_steps_work(journal):
    client.signal(journal.claim.execution_id, "go")
    with transaction.atomic():
        Group.objects.create(name="kept")
        journal.record_in_transaction(checkpoint(journal), is_new=True)
    assert Group.objects.exists()
    assert Step.objects.exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_an_atomic_step_locks_the_timer_before_it_touches_what_others_lock_behind_it(journal, is_new):
    """A holder of its lost lease would meet it there from the other side: a deadlock for the database to break."""
    claim = journal.claim
    made = checkpoint(journal)
    if not is_new:
        journal.append(checkpoint(journal, id=made.id, status=StepStatus.RETRYING, finished_at=None))
    client.signal(claim.execution_id, "go")
    journal.renew()
    (request,) = journal.inbox
    answer = partial(consume, claim, request.id, "b")
    journal.defer(checkpoint(journal, position=1, name="b", beside=answer))
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        journal.record_in_transaction(made, is_new=is_new)
    ours = [query["sql"] for query in captured if "django_durable" in query["sql"]]
    assert Timer._meta.db_table in ours[0]
    assert len(ours) == (3 if is_new else 4)
    assert Step.objects.filter(status=StepStatus.COMPLETED).count() == 2


def test_the_fence_holds_for_one_lease_without_news(journal):
    claim = journal.claim
    assert fence(claim)
    client.signal(claim.execution_id, "go")
    assert not fence(claim)
    journal.renew()
    assert fence(claim)
    lose(journal)
    assert not fence(claim)
