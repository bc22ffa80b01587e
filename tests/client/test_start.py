"""start(): what it writes, when, and how a key is taken."""

from datetime import timedelta

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from django_durable import ExecutionConflict, TransactionOpenError, client, step, workflow
from django_durable.definitions import registry
from django_durable.models import Execution, Priority, Timer
from tests.authoring import rows


@pytest.fixture
def add():
    @workflow("client.add")
    def add(ctx, left: int, right: int = 1) -> int:
        return left + right

    return add


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_rolled_back_start_never_existed(add):
    with pytest.raises(RuntimeError), transaction.atomic():
        add.using(key="k").start(1)
        raise RuntimeError
    assert set(rows().values()) == {0}


@pytest.mark.django_db(transaction=True)
def test_workers_are_told_after_the_commit_only(add, settings, monkeypatch):
    told = []
    monkeypatch.setattr("django_durable.dispatch.NullDispatcher.wake", lambda self, pk, **_: told.append(pk))
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    with transaction.atomic():
        execution = add.start(1)
        assert told == []
    assert told == [execution.id]


def test_a_failing_dispatcher_is_not_the_callers_problem(durable, add, settings, monkeypatch, caplog):
    def fails(self, *args, **kwargs):
        raise ConnectionError("no broker")

    monkeypatch.setattr("django_durable.dispatch.NullDispatcher.wake", fails)
    execution = add.start(1)
    assert durable.run(execution) == 2


def test_a_start_by_name_takes_the_newest_version(durable):
    for version in (1, 2):

        @workflow("client.versions", version=version)
        def flow(ctx, version=version):
            return version

    assert client.start("client.versions").version == 2
    assert registry.find("client.versions", 1).version == 1


def test_the_same_key_and_input_is_the_same_execution(durable, add):
    first = add.using(key="order:1").start(1, right=2)
    again = add.using(key="order:1").start(1, right=2)
    assert again.id == first.id
    assert Execution.objects.count() == 1


def test_the_key_stays_taken_after_the_end(durable, add):
    first = add.using(key="order:1").start(1)
    durable.run(first)
    assert add.using(key="order:1").start(1).id == first.id


def test_the_same_key_with_other_input_is_a_conflict_and_writes_nothing(durable, add):
    add.using(key="order:1").start(1)
    before = rows()
    with pytest.raises(ExecutionConflict, match="other input"):
        add.using(key="order:1").start(2)
    assert rows() == before


def test_the_order_of_dict_keys_is_no_other_input(durable):
    @workflow("client.dict")
    def flow(ctx, given):
        return given

    first = flow.using(key="k").start({"a": 1, "b": 2})
    assert flow.using(key="k").start({"b": 2, "a": 1}).id == first.id


def test_keys_of_different_workflows_do_not_meet(durable, add):
    @workflow("client.other")
    def other(ctx):
        return None

    assert add.using(key="k").start(1).id != other.using(key="k").start().id


def test_a_conflict_leaves_the_callers_transaction_usable(durable, add):
    add.using(key="k").start(1)
    with transaction.atomic():
        with pytest.raises(ExecutionConflict):
            add.using(key="k").start(2)
        assert add.using(key="k2").start(2).key == "k2"


def test_options_are_kept_on_the_rows(durable, add):
    subject = ContentType.objects.get_for_model(Execution)
    execution = add.using(
        key="k", subject=subject, queue="default", priority="high", timeout=60, labels={"tenant": "acme"}
    ).start(1)
    stored = client.get(execution)
    assert (stored.subject_type, stored.subject_id) == ("contenttypes.contenttype", str(subject.pk))
    assert (stored.labels, stored.timer.priority) == ({"tenant": "acme"}, Priority.HIGH)
    assert stored.deadline_at - stored.created_at == timedelta(seconds=60)


@pytest.mark.parametrize("options", [{"delay": 60}, {"delay": timedelta(minutes=1)}])
def test_a_delayed_start_does_not_begin_before_its_time(durable, add, options):
    execution = add.using(**options).start(1)
    durable.advance(timedelta(seconds=59))
    assert client.get(execution).status == "pending"
    durable.advance(timedelta(seconds=1))
    assert client.result(execution) == 2


def test_a_start_at_a_point_in_time(durable, add):
    execution = add.using(at=durable.clock.now() + timedelta(hours=1)).start(1)
    durable.advance(timedelta(minutes=59))
    assert client.get(execution).status == "pending"
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == 2


def test_a_signal_does_not_begin_a_delayed_start(durable):
    @workflow("client.delayed")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.using(delay=3600).start()
    durable.signal(execution, "go", "early")
    assert client.get(execution).status == "pending"
    durable.advance(timedelta(hours=1))
    assert client.result(execution) == "early"


def test_times_set_by_the_database_can_be_read_from_what_start_returns(durable, add):
    execution = add.using(timeout=60).start(1)
    assert execution.deadline_at - execution.created_at == timedelta(seconds=60)


def test_high_priority_goes_first(durable):
    ran = []

    @step
    def run(name):
        ran.append(name)

    @workflow("client.priority")
    def flow(ctx, name):
        ctx.step(run, name)

    for name in ("low", "normal", "high"):
        flow.using(priority=name).start(name)
    durable.run_until_idle()
    assert ran == ["high", "normal", "low"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_start_and_wait_in_a_transaction_is_refused_before_anything_is_written(add):
    with transaction.atomic(), pytest.raises(TransactionOpenError, match="Wait outside of atomic"):
        add.start_and_wait(1)
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        client.start_and_wait(add, 1)
    assert Timer.objects.count() == 0
    assert not connection.in_atomic_block
