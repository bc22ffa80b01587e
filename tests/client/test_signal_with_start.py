"""signal_with_start: one execution for a key and every signal kept, whoever comes first."""

from datetime import timedelta

import pytest
from django.db import transaction

from django_durable import (
    CodecError,
    ExecutionClosedError,
    ExecutionConflict,
    InvalidOptionError,
    SignalType,
    client,
    workflow,
)
from django_durable.models import Execution, Signal
from tests.authoring import rows


@pytest.fixture
def cart():
    """Takes signals until "enough", and returns them."""

    @workflow("client.cart")
    def cart(ctx, owner):
        added = []
        while not added or added[-1] != "enough":
            added.append(ctx.wait_for_signal("added"))
        return [owner, *added]

    return cart


def test_the_first_signal_starts_and_the_next_ones_find_it(durable, cart):
    first, was_started = client.signal_with_start(cart.using(key="ada").prepare(7), "added", "tea")
    again, was_started_again = client.signal_with_start(cart.using(key="ada").prepare(7), "added", "enough")
    assert (was_started, was_started_again) == (True, False)
    assert first.id == again.id
    assert durable.run(first) == [7, "tea", "enough"]


def test_the_first_look_finds_the_signal(durable):
    @workflow("client.looks_once")
    def looks_once(ctx):
        return ctx.wait_for_signal("added", timeout=0, default="nothing")

    execution, _ = client.signal_with_start(looks_once.using(key="k").prepare(), "added", "tea")
    assert durable.run(execution) == "tea"


def test_each_key_has_its_own(durable, cart):
    ids = {client.signal_with_start(cart.using(key=key).prepare(7), "added", 1)[0].id for key in ("a", "b", "a")}
    assert len(ids) == 2
    assert Signal.objects.count() == 3


def test_it_wakes_an_execution_that_waits(durable, cart):
    execution, _ = client.signal_with_start(cart.using(key="k").prepare(7), "added", "tea")
    durable.run_until_idle()
    assert client.get(execution).status == "waiting"
    client.signal_with_start(cart.using(key="k").prepare(7), "added", "enough")
    assert durable.run(execution) == [7, "tea", "enough"]


def test_a_repeated_signal_id_is_accepted_once_also_after_the_end(durable, cart):
    for _ in range(2):
        execution, _ = client.signal_with_start(
            cart.using(key="k").prepare(7), "added", "enough", signal_id="delivery-1"
        )
    durable.run(execution)
    again, was_started = client.signal_with_start(
        cart.using(key="k").prepare(7), "added", "enough", signal_id="delivery-1"
    )
    assert (again.id, was_started, Signal.objects.count()) == (execution.id, False, 1)


def test_an_ended_execution_keeps_its_key_and_the_error_says_what_to_do(durable, cart):
    execution, _ = client.signal_with_start(cart.using(key="k").prepare(7), "added", "enough")
    durable.run(execution)
    before = rows()
    with pytest.raises(ExecutionClosedError, match=r"is completed.*keeps the key 'k'.*another one") as refused:
        client.signal_with_start(cart.using(key="k").prepare(7), "added", "late")
    assert (refused.value.execution_id, refused.value.key) == (execution.id, "k")
    assert rows() == before


def test_other_arguments_are_a_conflict_as_for_a_start(durable, cart):
    client.signal_with_start(cart.using(key="k").prepare(7), "added", "tea")
    before = rows()
    with pytest.raises(ExecutionConflict, match="other input"):
        client.signal_with_start(cart.using(key="k").prepare(8), "added", "milk")
    assert rows() == before


def test_options_of_the_start_are_kept(durable, cart):
    prepared = cart.using(key="k", delay=timedelta(hours=1), labels={"tenant": "acme"}).prepare(7)
    execution, _ = client.signal_with_start(prepared, "added", "enough")
    durable.run_until_idle()
    assert (client.get(execution).status, client.get(execution).labels) == ("pending", {"tenant": "acme"})
    durable.advance(timedelta(hours=1))
    assert client.result(execution) == [7, "enough"]


def test_a_workflow_is_found_by_its_name(durable, cart):
    prepared = client.get_workflow("client.cart").using(key="k").prepare(owner=7)
    execution, _ = client.signal_with_start(prepared, "added", "enough")
    assert durable.run(execution) == [7, "enough"]


REFUSED = {
    "no key": (lambda cart: cart.using().prepare(7), "added", 1, InvalidOptionError, r"using\(key="),
    "not prepared": (lambda cart: cart.using(key="k"), "added", 1, InvalidOptionError, r"prepare\("),
    "wrong arguments": (lambda cart: cart.using(key="k").prepare(), "added", 1, TypeError, "owner"),
    "odd name": (lambda cart: cart.using(key="k").prepare(7), "a b", 1, InvalidOptionError, "Signal name"),
    "no JSON": (lambda cart: cart.using(key="k").prepare(7), "added", object(), CodecError, "regist"),
    "odd input": (lambda cart: cart.using(key="k").prepare(object()), "added", 1, CodecError, "regist"),
    "another class": (
        lambda cart: cart.using(key="k").prepare(7),
        SignalType("added", payload=str),
        1,
        InvalidOptionError,
        "carries str",
    ),
}


@pytest.mark.parametrize(("prepare", "signal", "payload", "error", "advice"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_and_nothing_is_written(durable, cart, prepare, signal, payload, error, advice):
    with pytest.raises(error, match=advice):
        client.signal_with_start(prepare(cart), signal, payload)
    assert set(rows().values()) == {0}


def test_an_odd_signal_id_is_refused_and_nothing_is_written(durable, cart):
    with pytest.raises(InvalidOptionError, match="signal_id"):
        client.signal_with_start(cart.using(key="k").prepare(7), "added", signal_id="")
    assert set(rows().values()) == {0}


def test_both_are_rolled_back_with_the_callers_transaction(durable, cart):
    with transaction.atomic():
        client.signal_with_start(cart.using(key="k").prepare(7), "added", "tea")
        transaction.set_rollback(True)
    assert set(rows().values()) == {0}


def test_a_refusal_leaves_the_callers_transaction_usable(durable, cart):
    execution, _ = client.signal_with_start(cart.using(key="k").prepare(7), "added", "enough")
    durable.run(execution)
    with transaction.atomic():
        with pytest.raises(ExecutionClosedError):
            client.signal_with_start(cart.using(key="k").prepare(7), "added", "late")
        client.signal_with_start(cart.using(key="k2").prepare(7), "added", "in time")
    assert Execution.objects.filter(key="k2").exists()
