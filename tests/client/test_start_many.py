"""start_many(): all or nothing, in few statements, with one answer for each."""

import pickle
from datetime import timedelta

import pytest
from django.db import transaction

from django_durable import BatchRefusedError, Coalesce, ExecutionConflict, InvalidOptionError, client, signals, workflow
from django_durable.engine import batches
from django_durable.models import Execution, Timer
from django_durable.testing.faults import DatabaseCalls, watch_database
from tests.authoring import rows


@pytest.fixture
def flow():
    @workflow("many.flow")
    def flow(ctx, number: int, *, fast: bool = False) -> int:
        if number < 0:
            raise ValueError("no")
        return number

    return flow


def answers(outcomes):
    return [outcome.is_new for outcome in outcomes]


def test_all_are_started_in_their_order(durable, flow):
    outcomes = client.start_many([flow.prepare(number, fast=True) for number in range(5)])
    assert answers(outcomes) == [True] * 5
    durable.run_until_idle()
    assert [client.result(outcome.execution) for outcome in outcomes] == list(range(5))


def test_no_starts_are_no_executions(durable):
    assert client.start_many([]) == []


def test_they_are_written_as_start_writes_them(durable, flow):
    options = {"subject": Execution(pk="0" * 32), "labels": {"a": "é"}, "priority": "high", "timeout": 60, "delay": 5}
    one = flow.using(**options).start(1)
    (many,) = client.start_many([flow.using(**options).prepare(1)])
    for model in (Execution, Timer):
        written = [model.objects.filter(pk=pk).values().get() for pk in (one.pk, many.execution.pk)]
        for values in written:
            values.pop("id", None), values.pop("execution_id", None)
        assert written[0] == written[1]


def test_several_workflows_options_and_policies_in_one_batch(durable, flow):
    @workflow("many.other")
    def other(ctx, text):
        return text

    skip = Coalesce.skip(key="7")
    outcomes = client.start_many(
        [
            flow.using(coalesce=skip).prepare(1),
            other.prepare("a"),
            flow.using(delay=60).prepare(2),
            flow.using(coalesce=skip).prepare(3),
            flow.using(key="7").prepare(4),
        ]
    )
    assert answers(outcomes) == [True, True, True, False, True]
    assert outcomes[3].execution.id == outcomes[0].execution.id
    assert outcomes[3].execution.disposition == "coalesced"
    durable.run_until_idle()
    ended = [client.get(outcome.execution).status for outcome in outcomes]
    assert ended == ["completed", "completed", "pending", "completed", "completed"]


# -- keys ----------------------------------------------------------------------------------------------


def test_existing_and_repeated_keys_give_the_one_execution(durable, flow):
    there = flow.using(key="b").start(1)
    outcomes = client.start_many([flow.using(key=key).prepare(1) for key in "cbac"])
    assert answers(outcomes) == [True, False, True, False]
    assert outcomes[1].execution.id == there.id
    assert outcomes[3].execution.id == outcomes[0].execution.id
    assert Execution.objects.count() == 3


def test_the_first_of_equal_keys_wins(durable, flow):
    with pytest.raises(BatchRefusedError) as refused:
        client.start_many([flow.using(key="a").prepare(number) for number in (1, 2, 1)])
    assert list(refused.value.errors) == [1]
    assert isinstance(refused.value.errors[1], ExecutionConflict)


def test_a_key_of_a_failed_one_is_taken_over(durable, flow):
    failed = flow.using(key="a").start(-1)
    durable.run_until_idle()
    outcomes = client.start_many([flow.using(key=key, if_failed="new").prepare(1) for key in "ab"])
    assert answers(outcomes) == [True, True]
    assert client.get(failed).key_scope is None


def test_a_key_that_is_taken_meanwhile_is_found(durable, flow, monkeypatch):
    """As when another start commits between the look and the insert."""
    there = flow.using(key="b").start(1)
    monkeypatch.setattr(batches, "_taken", lambda page, using: set())
    outcomes = client.start_many([flow.using(key=key).prepare(1) for key in "abc"])
    assert answers(outcomes) == [True, False, True]
    assert outcomes[1].execution.id == there.id
    assert Timer.objects.count() == 3


# -- bad ones ------------------------------------------------------------------------------------------


def bad_ones(flow):
    flow.using(key="taken").start(1)
    return [
        flow.prepare(1),
        flow.prepare(object()),
        {"input": 1},
        flow.using(key="taken").prepare(2),
        flow.using(queue="unknown").prepare(1),
        flow.using(using="other").prepare(1),
    ]


def test_bad_ones_are_told_with_their_positions_and_nothing_is_written(durable, flow):
    starts = bad_ones(flow)
    before = rows()
    with pytest.raises(BatchRefusedError, match=r"4 starts were refused and none was made, at position 1: ") as refused:
        client.start_many(starts)
    assert list(refused.value.errors) == [1, 2, 4, 5]
    with pytest.raises(BatchRefusedError, match=r"position 1: .*other input"):
        client.start_many([flow.prepare(1), starts[3]])
    assert rows() == before


def test_the_good_ones_are_started_on_request(durable, flow):
    outcomes = client.start_many(bad_ones(flow), skip_errors=True)
    assert answers(outcomes) == [True, False, False, False, False, False]
    assert [type(outcome.error).__name__ for outcome in outcomes[1:]] == [
        "CodecError",
        "InvalidOptionError",
        "ExecutionConflict",
        "InvalidOptionError",
        "InvalidOptionError",
    ]
    assert Execution.objects.count() == 2


def test_arguments_that_do_not_fit_are_told_where_they_are_given(flow):
    with pytest.raises(TypeError):
        flow.prepare(1, 2)


def test_a_refused_batch_leaves_the_callers_transaction_usable(durable, flow):
    flow.using(key="a").start(1)
    with transaction.atomic():
        with pytest.raises(BatchRefusedError):
            client.start_many([flow.prepare(1), flow.using(key="a").prepare(2)])
        flow.start(3)
    assert Execution.objects.count() == 2


def test_what_is_no_start_is_refused(durable):
    with pytest.raises(BatchRefusedError) as refused:
        client.start_many([7])
    assert isinstance(refused.value.errors[0], InvalidOptionError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


# -- what it costs -------------------------------------------------------------------------------------


def seen(act):
    calls = DatabaseCalls()
    with watch_database(calls):
        act()
    return [call for call in calls.seen if call.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"))]


@pytest.mark.parametrize(("key", "looks"), [(None, 0), ("k", 3)], ids=["without keys", "with keys"])
def test_a_batch_is_two_statements_for_every_500(durable, flow, key, looks):
    starts = [flow.using(key=key and f"{key}{number}").prepare(number) for number in range(1_200)]
    statements = seen(lambda: client.start_many(starts))
    assert len(statements) == 1 + looks + 2 * 3
    assert Timer.objects.count() == 1_200


def test_large_inputs_are_spread_over_statements(durable):
    @workflow("many.large")
    def large(ctx, text):
        return None

    statements = seen(lambda: client.start_many([large.prepare("x" * 600_000) for _ in range(4)]))
    assert len(statements) == 1 + 2 * 2


def test_a_batch_is_one_hint_for_each_queue(durable, flow, monkeypatch):
    told = []
    monkeypatch.setattr("django_durable.dispatch.drain_after_commit", lambda queue, **_: told.append(queue))
    monkeypatch.setattr("django_durable.dispatch.wake", lambda *_, **__: told.append("wake"))
    starts = [flow.prepare(number) for number in range(3)] + [flow.using(key="k").prepare(1)]
    client.start_many([*starts, flow.using(delay=timedelta(hours=1)).prepare(1)])
    assert told == ["default"]
    client.start_many([flow.using(delay=timedelta(hours=1)).prepare(1)])
    assert told == ["default"]


def test_each_start_is_told_to_django(durable, flow, django_capture_on_commit_callbacks):
    told = []

    def hear(execution_id, **_):
        told.append(execution_id)

    signals.execution_started.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            outcomes = client.start_many([flow.prepare(1), flow.using(key="k").prepare(1)])
    finally:
        signals.execution_started.disconnect(hear)
    assert set(told) >= {outcome.execution.id for outcome in outcomes}
