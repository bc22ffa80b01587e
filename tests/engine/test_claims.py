"""Leases: taken by one, kept by signs of life, given back, and returned for the dead."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection

from django_durable import clock, workflow
from django_durable.definitions import registry
from django_durable.engine import claims, forcing, holders
from django_durable.models import Execution, Timer

USING = "default"


@pytest.fixture
def execution(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    return flow.start()


def timer(execution):
    return Timer.objects.get(pk=execution.id)


def dead_holder():
    return f"{holders.machine()}:999999999:1"


# -- taking --------------------------------------------------------------------------------------------


def test_a_claim_is_a_token_a_holder_and_an_end(execution):
    claim = claims.take(execution.id, using=USING)
    row = timer(execution)
    assert (row.token, row.holder, row.claims) == (claim.token, holders.this_process(), 1)
    assert row.due_at == clock.now() + timedelta(seconds=30)
    assert (claim.execution_id, claim.queue, claim.claims, claim.progress) == (execution.id, "default", 1, 0)


def test_what_is_claimed_cannot_be_claimed(execution):
    assert claims.take(execution.id, using=USING) is not None
    assert claims.take(execution.id, using=USING) is None
    assert claims.take_next("default", using=USING) is None


def test_a_lease_that_ran_out_is_taken_with_a_new_token(durable, execution):
    first = claims.take(execution.id, using=USING)
    durable.clock.advance(timedelta(seconds=30))
    second = claims.take(execution.id, using=USING)
    assert second.token != first.token
    assert second.claims == 2
    assert not first.timers().exists()
    assert second.timers().exists()


def test_what_is_not_due_or_unknown_cannot_be_claimed(durable, execution):
    Timer.objects.update(due_at=clock.now() + timedelta(seconds=1))
    assert claims.take(execution.id, using=USING) is None
    assert claims.take(uuid.uuid4(), using=USING) is None


def test_the_lease_is_a_setting(durable, execution, settings):
    settings.DURABLE = {**settings.DURABLE, "LEASE_SECONDS": 7}
    claims.take(execution.id, using=USING)
    assert timer(execution).due_at == clock.now() + timedelta(seconds=7)


def test_the_next_of_a_queue_is_the_most_urgent_and_then_the_oldest(durable):
    @workflow("flow")
    def flow(ctx):
        pass

    names = {}
    for name, priority in [("old", "normal"), ("new", "normal"), ("urgent", "high"), ("slow", "low")]:
        names[flow.using(priority=priority).start().id] = name
        durable.clock.advance(timedelta(seconds=1))
    flow.using(queue="default").start()
    taken = [claims.take_next("default", using=USING).execution_id for _ in range(4)]
    assert [names.get(key) for key in taken][:2] == ["urgent", "old"]
    assert claims.take_next("another", using=USING) is None


def test_a_claim_carries_the_databases_clock_forward(durable, execution):
    claim = claims.take(execution.id, using=USING)
    assert claim.now() == clock.now()
    durable.clock.advance(timedelta(seconds=3))
    assert claim.now() == clock.now()


def test_its_time_is_never_ahead_of_the_databases_however_long_the_claim_took(durable, execution):
    def slowly(execute, *args):
        durable.clock.advance(timedelta(seconds=4))
        return execute(*args)

    with connection.execute_wrapper(slowly):
        claim = claims.take(execution.id, using=USING)
    assert claim.now() <= clock.now()


# -- keeping and returning -----------------------------------------------------------------------------


def test_a_sign_of_life_moves_the_end(durable, execution):
    claim = claims.take(execution.id, using=USING)
    durable.clock.advance(timedelta(seconds=20))
    assert claims.extend(claim)
    assert timer(execution).due_at == clock.now() + timedelta(seconds=30)


def test_a_sign_of_life_for_another_lease_changes_nothing(durable, execution):
    first = claims.take(execution.id, using=USING)
    durable.clock.advance(timedelta(seconds=30))
    claims.take(execution.id, using=USING)
    before = timer(execution).due_at
    durable.clock.advance(timedelta(seconds=5))
    assert not claims.extend(first)
    assert timer(execution).due_at == before


def test_a_refusal_puts_it_back_and_is_no_claim_of_its_own(execution):
    claim = claims.take(execution.id, using=USING)
    assert claims.refuse(claim) is False
    row = timer(execution)
    assert (row.token, row.holder, row.claims) == (None, "", 0)
    assert row.due_at == clock.now() + timedelta(seconds=1)
    assert row.refused_since == clock.now()


def test_refusals_of_a_minute_are_worth_telling_people(durable, execution):
    claims.refuse(claims.take(execution.id, using=USING))
    durable.clock.advance(timedelta(seconds=61))
    assert claims.refuse(claims.take(execution.id, using=USING)) is True
    assert timer(execution).due_at == clock.now() + timedelta(seconds=60)


def test_running_forgets_earlier_refusals(durable):
    with registry.isolated():

        @workflow("elsewhere")
        def elsewhere(ctx):
            pass

        execution = elsewhere.start()
    durable.run_until_idle()
    assert timer(execution).refused_since is not None

    @workflow("elsewhere")
    def here(ctx):
        ctx.wait_for_signal("go")

    durable.advance(timedelta(seconds=5))
    assert timer(execution).refused_since is None


# -- the dead ------------------------------------------------------------------------------------------


def test_the_leases_of_dead_processes_are_returned_at_once(execution):
    claims.take(execution.id, using=USING)
    Timer.objects.update(holder=dead_holder())
    assert claims.release_dead(using=USING) == 1
    row = timer(execution)
    assert (row.token, row.holder, row.due_at) == (None, "", clock.now())
    assert claims.take(execution.id, using=USING) is not None


@pytest.mark.parametrize(
    "holder",
    [holders.this_process(), "another-machine:1:1", "nonsense", f"{holders.machine()}:abc:1"],
    ids=["alive", "elsewhere", "nonsense", "no pid"],
)
def test_what_may_be_alive_keeps_its_lease(execution, holder):
    claims.take(execution.id, using=USING)
    Timer.objects.update(holder=holder)
    assert claims.release_dead(using=USING) == 0
    assert timer(execution).token is not None


def test_one_that_keeps_killing_its_workers_waits_longer_each_time(durable, execution):
    pauses = []
    for _ in range(9):
        claims.take(execution.id, using=USING)
        Timer.objects.update(holder=dead_holder())
        claims.release_dead(using=USING)
        pauses.append((timer(execution).due_at - clock.now()).total_seconds())
        durable.clock.advance(timedelta(seconds=60))
    assert pauses == [0, 0, 2, 4, 8, 16, 32, 60, 60]


def test_a_claim_of_what_has_ended_is_nothing(durable, execution):
    forcing.terminate(execution.id, using=USING, actor="", reason="")
    assert claims.take(execution.id, using=USING) is None
    assert Execution.objects.get().status == "terminated"
