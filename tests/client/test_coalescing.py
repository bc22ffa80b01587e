"""Coalescing: starts of one key join the one that has not begun."""

from datetime import timedelta

import pytest
from django.db import transaction

from django_durable import Coalesce, InvalidOptionError, client, workflow
from django_durable.engine import claims
from django_durable.models import Execution, Timer
from tests.authoring import rows

MINUTE = timedelta(minutes=1)
POLICIES = [
    Coalesce.skip(key="7"),
    Coalesce.replace(key="7"),
    Coalesce.debounce(MINUTE, key="7"),
    Coalesce.throttle(MINUTE, key="7"),
]


@pytest.fixture
def flow():
    @workflow("coalesce.flow")
    def flow(ctx, number: int) -> int:
        return number

    return flow


def results():
    return [client.result(run) for run in Execution.objects.filter(status="completed").order_by("created_at", "id")]


# -- each policy ---------------------------------------------------------------------------------------


def test_skip_leaves_the_pending_one_as_it_is(durable, flow):
    skip = flow.using(coalesce=Coalesce.skip(key="7"))
    first, second = skip.start(1), skip.start(2)
    assert (first.id, first.disposition, second.disposition) == (second.id, "new", "coalesced")
    assert durable.run(first) == 1


def test_replace_gives_it_the_new_input(durable, flow):
    replace = Coalesce.replace(key="7")
    first = flow.using(coalesce=replace, labels={"by": "ada"}).start(1)
    second = flow.using(coalesce=replace, labels={"by": "bob"}).start(2)
    assert (first.id, second.labels) == (second.id, {"by": "bob"})
    assert durable.run(first) == 2
    assert client.get(first).labels == {"by": "bob"}


def test_debounce_waits_until_it_is_quiet(durable, flow):
    debounce = flow.using(coalesce=Coalesce.debounce(MINUTE, key="7"))
    for number in range(3):
        debounce.start(number)
        durable.advance(MINUTE / 2)
    assert results() == []
    durable.advance(MINUTE / 2)
    assert results() == [2]


def test_debounce_does_not_wait_longer_than_it_may(durable, flow):
    debounce = flow.using(coalesce=Coalesce.debounce(MINUTE, key="7", max_wait=2 * MINUTE))
    for number in range(4):
        debounce.start(number)
        durable.advance(MINUTE / 2)
    assert results() == [3]


def test_throttle_begins_one_in_each_period(durable, flow):
    throttle = flow.using(coalesce=Coalesce.throttle(MINUTE, key="7"))
    throttle.start(0)
    durable.run_until_idle()
    assert results() == [0]
    for number in range(1, 4):
        durable.advance(MINUTE / 6)
        throttle.start(number)
    durable.run_until_idle()
    assert results() == [0]
    durable.advance(MINUTE / 2)  # a period after the first
    assert results() == [0, 3]
    throttle.start(4)
    durable.advance(MINUTE - timedelta(seconds=1))
    assert results() == [0, 3]
    durable.advance(timedelta(seconds=1))
    assert results() == [0, 3, 4]
    durable.advance(2 * MINUTE)
    throttle.start(5)
    durable.run_until_idle()
    assert results()[-1] == 5  # at once


# -- what has begun is left alone ----------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode)
def test_what_has_been_claimed_is_not_joined(durable, flow, policy):
    first = flow.using(coalesce=policy).start(1)
    durable.clock.advance(MINUTE)
    claim = claims.take(first.id, using="default")
    assert claim is not None
    second = flow.using(coalesce=policy).start(2)
    assert (second.disposition, client.get(first).coalesce_key) == ("new", None)
    assert flow.using(coalesce=policy).start(3).id == second.id


def stopped(run):
    Timer.objects.filter(pk=run.pk).update(claims=1)
    claims.release_dead(using="default")


BEGUN = {
    "waits": lambda durable, run: durable.run_until_idle(),
    "is cancelled": lambda durable, run: client.cancel(run),
    "is terminated": lambda durable, run: client.terminate(run),
    "was claimed by a worker that died": lambda durable, run: stopped(run),
    "was handed back": lambda durable, run: Execution.objects.filter(pk=run.pk).update(started_at=run.created_at),
}


@pytest.mark.parametrize("begin", BEGUN.values(), ids=BEGUN)
def test_one_that_is_no_longer_pending_is_not_joined(durable, begin):
    @workflow("coalesce.waits")
    def waits(ctx, number):
        return ctx.wait_for_signal("go")

    replace = waits.using(coalesce=Coalesce.replace(key="7"))
    first = replace.start(1)
    begin(durable, first)
    before = client.get(first).input
    second = replace.start(2)
    assert second.id != first.id
    assert client.get(first).input == before


def test_keys_and_workflows_do_not_meet(durable, flow):
    @workflow("coalesce.other")
    def other(ctx, number):
        return number

    runs = [run.using(coalesce=Coalesce.skip(key=key)).start(1) for run in (flow, other) for key in ("7", "8")]
    assert len({run.id for run in runs}) == 4


def test_what_a_pending_one_was_joined_by_is_rolled_back_with_its_caller(durable, flow):
    replace = flow.using(coalesce=Coalesce.replace(key="7"))
    first = replace.start(1)
    with pytest.raises(RuntimeError), transaction.atomic():
        replace.start(2)
        raise RuntimeError
    assert durable.run(first) == 1


def test_a_deadline_counts_from_the_last_start(durable, flow):
    debounce = flow.using(coalesce=Coalesce.debounce(MINUTE, key="7"), timeout=10)
    debounce.start(1)
    durable.advance(MINUTE / 2)
    run = debounce.start(2)
    assert client.get(run).deadline_at == durable.clock.now() + MINUTE + timedelta(seconds=10)
    durable.advance(MINUTE)
    assert results() == [2]


def test_the_deadline_of_a_throttled_one_counts_from_its_turn(durable, flow):
    throttle = flow.using(coalesce=Coalesce.throttle(MINUTE, key="7"), timeout=10)
    for number in range(3):
        throttle.start(number)
        durable.run_until_idle()
    durable.advance(MINUTE)
    assert results() == [0, 2]


def test_a_joined_one_that_is_due_is_hinted_at_again(durable, flow, monkeypatch):
    told = []
    skip = flow.using(coalesce=Coalesce.skip(key="7"))
    monkeypatch.setattr("django_durable.dispatch.wake", lambda pk, **_: told.append(pk))
    first = skip.start(1)
    skip.start(2)
    assert told == [first.id, first.id]


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"coalesce": "skip"}, "give Coalesce.skip"),
        ({"coalesce": POLICIES[0], "key": "7"}, "not both"),
        ({"coalesce": POLICIES[2], "delay": 5}, "Coalesce.debounce says when"),
    ],
)
def test_options_that_do_not_go_together_are_refused(flow, options, advice):
    with pytest.raises(InvalidOptionError, match=advice):
        flow.using(**options)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Coalesce.skip(key=""), "key=''"),
        (lambda: Coalesce.debounce(0, key="7"), "positive"),
        (lambda: Coalesce.throttle(-1, key="7"), "period=-1"),
        (lambda: Coalesce.debounce(5, key="7", max_wait=4), "longer"),
    ],
)
def test_a_policy_of_no_use_is_refused(make, advice):
    with pytest.raises(InvalidOptionError, match=advice):
        make()


def test_a_child_cannot_be_coalesced(durable, flow):
    @workflow("coalesce.parent")
    def parent(ctx):
        with pytest.raises(InvalidOptionError, match="parent's own"):
            ctx.call(flow.using(coalesce=POLICIES[0]), 1)
        return rows()["Execution"]

    assert durable.run(parent.start()) == 1
