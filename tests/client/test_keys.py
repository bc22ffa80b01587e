"""Keys: the scope in which they are unique, how long they are held, and what a failure makes of them."""

from datetime import timedelta

import pytest
from django.db import connection, transaction

from django_durable import ConfigurationError, ExecutionConflict, InvalidOptionError, client, workflow
from django_durable.conf import read
from django_durable.models import CLOSED, UNSUCCESSFUL, Execution
from django_durable.testing.faults import DatabaseCalls, watch_database
from tests.authoring import rows

DAY = timedelta(days=1)


def boom():
    raise ValueError("no")


@pytest.fixture
def flow():
    """Fails for a negative number."""

    @workflow("keys.flow")
    def flow(ctx, number: int) -> int:
        return number if number >= 0 else boom()

    return flow


def ended(durable, start):
    durable.run_until_idle()
    return client.get(start)


# -- scope ---------------------------------------------------------------------------------------------


def test_workflows_of_one_scope_share_their_keys(durable):
    @workflow("keys.ship", key_scope="order")
    def ship(ctx):
        return None

    @workflow("keys.refund", key_scope="order")
    def refund(ctx):
        return None

    first = ship.using(key="7").start()
    with pytest.raises(ExecutionConflict, match=rf"{first.id} of 'keys.ship' already has the key '7'.*'order'"):
        refund.using(key="7").start()
    assert ship.using(key="7").start().id == first.id
    assert Execution.objects.count() == 1


def test_a_start_may_name_a_scope_of_its_own(durable, flow):
    starts = [flow.using(key="7", key_scope=f"tenant:{tenant}").start(1) for tenant in ("a", "b", "a")]
    assert starts[0].id == starts[2].id != starts[1].id
    assert [start.disposition for start in starts] == ["new", "new", "existing"]


def test_both_are_found_by_the_key(durable, flow):
    for tenant in ("a", "b"):
        flow.using(key="7", key_scope=tenant).start(1)
    assert client.find(key="7").count() == 2


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"key_scope": "order"}, "give key= too"),
        ({"if_failed": "new"}, "give key= too"),
        ({"key": "7", "if_failed": "retry"}, "give 'reuse' or 'new'"),
        ({"key": "7", "key_scope": "an order"}, "Key scope 'an order' cannot be used"),
    ],
)
def test_options_that_mean_nothing_are_refused(durable, flow, options, advice):
    with pytest.raises(InvalidOptionError, match=advice):
        flow.using(**options)


# -- after a failure -----------------------------------------------------------------------------------


def test_a_failed_execution_keeps_its_key_unless_the_start_says_otherwise(durable, flow):
    failed = ended(durable, flow.using(key="7").start(-1))
    assert flow.using(key="7").start(-1).id == failed.id


def test_new_after_a_failure_takes_the_key_over(durable, flow):
    failed = ended(durable, flow.using(key="7").start(-1))
    again = flow.using(key="7", if_failed="new").start(1)
    assert (again.disposition, again.key) == ("new", "7")
    failed.refresh_from_db()
    assert (failed.key, failed.key_scope) == ("7", None)  # it still shows its key
    assert flow.using(key="7").start(1).id == again.id


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_only_an_end_without_success_gives_the_key_away(durable, flow, status):
    first = ended(durable, flow.using(key="7").start(1))
    Execution.objects.filter(pk=first.pk).update(status=status)
    again = flow.using(key="7", if_failed="new").start(1)
    assert (again.id != first.id) == (status in UNSUCCESSFUL)


def test_an_open_execution_keeps_its_key(durable, flow):
    first = flow.using(key="7").start(1)
    assert flow.using(key="7", if_failed="new").start(1).id == first.id


def test_a_take_over_that_is_rolled_back_leaves_the_key_where_it_was(durable, flow):
    failed = ended(durable, flow.using(key="7").start(-1))
    before = rows()
    with pytest.raises(RuntimeError), transaction.atomic():
        flow.using(key="7", if_failed="new").start(1)
        raise RuntimeError
    assert rows() == before
    assert flow.using(key="7").start(-1).id == failed.id


def test_a_signal_with_start_starts_anew_after_a_failure(durable):
    @workflow("keys.waits")
    def waits(ctx, fails):
        return boom() if fails else ctx.wait_for_signal("go")

    ended(durable, waits.using(key="7").start(True))
    start = waits.using(key="7", if_failed="new").prepare(False)
    execution, is_new = client.signal_with_start(start, "go", 1)
    assert is_new
    assert durable.run(execution) == 1


def test_a_child_may_take_over_the_key_of_a_failed_one(durable, flow):
    failed = ended(durable, flow.using(key="7").start(-1))

    @workflow("keys.parent")
    def parent(ctx):
        return ctx.call(flow.using(key="7", if_failed="new"), 5)

    assert durable.run(parent.start()) == 5
    assert Execution.objects.get(key="7", key_scope="keys.flow").pk != failed.pk


# -- retention -----------------------------------------------------------------------------------------


@pytest.fixture
def kept():
    @workflow("keys.kept", key_retention=DAY)
    def kept(ctx, number):
        return ctx.sleep(3 * DAY) if number < 0 else number

    return kept


def test_a_key_is_free_again_so_long_after_the_end(durable, kept):
    first = ended(durable, kept.using(key="7").start(1))
    durable.clock.advance(DAY - timedelta(seconds=1))
    assert kept.using(key="7").start(1).id == first.id
    durable.clock.advance(timedelta(seconds=1))
    assert kept.using(key="7").start(2).id != first.id  # with other input, too
    assert client.find(key="7").count() == 2


def test_a_key_is_not_free_before_the_end(durable, kept):
    first = kept.using(key="7").start(-1)
    durable.advance(2 * DAY)
    assert kept.using(key="7").start(-1).id == first.id


def test_without_retention_a_key_is_held_while_the_execution_is_open(durable):
    @workflow("keys.open", key_retention=0)
    def flow(ctx):
        return ctx.wait_for_signal("go")

    first = flow.using(key="7").start()
    assert flow.using(key="7").start().id == first.id
    durable.signal(first, "go", 1)
    durable.run_until_idle()
    assert flow.using(key="7").start().id != first.id


def test_the_setting_holds_where_the_workflow_says_nothing(durable, flow, kept, settings):
    settings.DURABLE = {**settings.DURABLE, "KEY_RETENTION": timedelta(hours=1)}
    mine, its = ended(durable, flow.using(key="7").start(1)), ended(durable, kept.using(key="7").start(1))
    durable.clock.advance(timedelta(hours=2))
    assert flow.using(key="7").start(1).id != mine.id
    assert kept.using(key="7").start(1).id == its.id


@pytest.mark.parametrize("kept", ["a day", -1, True, timedelta(seconds=-1), float("nan")])
def test_a_retention_of_no_use_is_refused(kept):
    with pytest.raises(ConfigurationError, match="KEY_RETENTION"):
        read({"KEY_RETENTION": kept})
    with pytest.raises(InvalidOptionError, match="key_retention"):
        workflow("keys.bad", key_retention=kept)


# -- what it costs -------------------------------------------------------------------------------------


def test_a_start_costs_what_it_did_and_a_take_over_two_statements_more(durable, flow):
    ended(durable, flow.using(key="7").start(-1))
    insert = 1 if connection.vendor == "postgresql" else 2
    assert statements(lambda: flow.using(key="8").start(1)) == insert
    assert statements(lambda: flow.using(key="9", if_failed="new").start(1)) == insert + 1
    assert statements(lambda: flow.using(key="7", if_failed="new").start(1)) == insert + 2


def statements(act):
    calls = DatabaseCalls()
    with watch_database(calls):
        act()
    return sum(call.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")) for call in calls.seen)
