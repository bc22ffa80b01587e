"""signal, cancel, terminate: what they accept, what they refuse, and what they leave."""

from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.db import transaction

from django_durable import (
    ExecutionClosedError,
    ExecutionNotFoundError,
    InvalidOptionError,
    SignalType,
    client,
    register_type,
    workflow,
)
from django_durable.models import AuditEntry, Signal
from tests.authoring import rows


@register_type
@dataclass(frozen=True)
class Approval:
    by: str


approved = SignalType("client.approved", payload=Approval)


@pytest.fixture
def waits():
    @workflow("client.waits")
    def waits(ctx, number: int = 1):
        return [ctx.wait_for_signal(approved).by for _ in range(number)]

    return waits


def test_signals_are_consumed_in_the_order_in_which_they_were_accepted(durable, waits):
    execution = waits.start(3)
    for name in ("ada", "bob", "cyd"):
        client.signal(execution, approved, Approval(by=name))
    assert durable.run(execution) == ["ada", "bob", "cyd"]
    assert list(Signal.objects.order_by("seq").values_list("consumed_by", flat=True)) == [
        "signal:client.approved",
        "signal:client.approved#2",
        "signal:client.approved#3",
    ]


def test_a_repeated_signal_id_is_accepted_once(durable, waits):
    execution = waits.start(2)
    assert client.signal(execution, approved, Approval(by="ada"), signal_id="form-1") is True
    assert client.signal(execution, approved, Approval(by="ada"), signal_id="form-1") is False
    durable.run_until_idle()
    assert client.get(execution).status == "waiting"
    durable.signal(execution, approved, Approval(by="bob"))
    assert client.result(execution) == ["ada", "bob"]


def test_a_repeated_signal_id_is_harmless_after_the_end(durable, waits):
    execution = waits.start(1)
    client.signal(execution, approved, Approval(by="ada"), signal_id="form-1")
    durable.run(execution)
    assert client.signal(execution, approved, Approval(by="ada"), signal_id="form-1") is False


@pytest.mark.parametrize("order", [lambda pk: client.signal(pk, "x"), client.cancel, client.terminate])
def test_orders_to_an_unknown_execution_are_refused(durable, order):
    with pytest.raises(ExecutionNotFoundError):
        order(uuid4())
    assert set(rows().values()) == {0}


@pytest.mark.parametrize("order", [lambda pk: client.signal(pk, "x"), client.cancel, client.terminate])
def test_orders_to_a_closed_execution_are_refused_and_write_nothing(durable, order):
    @workflow("client.short")
    def short(ctx):
        return None

    execution = short.start()
    durable.run(execution)
    before = rows()
    with pytest.raises(ExecutionClosedError, match="completed"):
        order(execution.id)
    assert rows() == before


def test_a_signal_of_another_class_is_refused(durable, waits):
    execution = waits.start()
    with pytest.raises(InvalidOptionError, match="carries Approval, not dict"):
        client.signal(execution, approved, {"by": "ada"})
    assert Signal.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_rolled_back_signal_never_existed(waits):
    execution = waits.start()
    with pytest.raises(RuntimeError), transaction.atomic():
        client.signal(execution, approved, Approval(by="ada"))
        raise RuntimeError
    assert Signal.objects.count() == 0
    assert client.get(execution).timer.wake_seq == 0


def test_the_first_reason_of_a_cancel_is_kept_with_its_actor(durable, waits, django_user_model):
    ada = django_user_model.objects.create_user("ada")
    execution = waits.start()
    durable.run_until_idle()
    client.cancel(execution, reason="customer left", actor=ada)
    client.cancel(execution, reason="again")
    durable.run_until_idle()
    stored = client.get(execution)
    assert (stored.status, stored.cancel_reason) == ("cancelled", "customer left")
    entry = AuditEntry.objects.get(kind="cancel_requested")
    assert (entry.actor, entry.reason) == (f"auth.user:{ada.pk} ada", "customer left")


def test_terminate_ends_at_once_and_is_audited(durable, waits):
    execution = waits.start()
    durable.run_until_idle()
    client.terminate(execution, reason="by hand", actor="ops")
    stored = client.get(execution)
    assert (stored.status, stored.cancel_reason, stored.finished_at is not None) == ("terminated", "by hand", True)
    assert not hasattr(stored, "timer")
    assert list(AuditEntry.objects.about(execution.id).values_list("kind", "actor")) == [("terminated", "ops")]
    assert durable.run_until_idle() == 0
