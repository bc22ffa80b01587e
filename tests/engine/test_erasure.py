"""Erasing a subject: nothing about it is left in any table, and a row still says that there was an execution."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.apps import apps
from django.db.models import CharField, JSONField, TextField

from django_durable import client, signals, workflow
from django_durable.engine import erasure, offloading, retention
from django_durable.exceptions import ExecutionConflict, InvalidOptionError, PayloadErasedError
from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    FeedHead,
    LimitKey,
    Node,
    OutboxEvent,
    Schedule,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
    Step,
    Timer,
    Turn,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.ledger_app.models import LedgerRow
from tests.models import rows

NAME = "Adalovelace"


@pytest.fixture
def ada(transactional_db):
    return LedgerRow.objects.create(execution_id=uuid4(), step="one", attempt=1)


@pytest.fixture
def flow(durable):
    @workflow("child")
    def child(ctx, name):
        ctx.step("write", lambda: f"letter to {name}")
        return name

    @workflow("flow")
    def flow(ctx, name):
        ctx.emit("met", name)
        ctx.call(child, name)
        answer = ctx.wait_for_signal("answer", timeout=timedelta(days=1))
        ctx.progress(1, 2, message=name)
        if answer == "fail":
            raise ValueError(name)
        return name

    return flow


def begun(durable, flow, subject):
    given = {"key": f"about {NAME}", "labels": {"name": NAME}, "subject": subject}
    execution = flow.using(**given).start(NAME)
    durable.run_until_idle()
    return execution


def finished(durable, flow, subject, *, answer=NAME):
    execution = begun(durable, flow, subject)
    client.signal(execution, "answer", answer, signal_id=f"from {NAME}")
    durable.run_until_idle()
    return execution


def everything():
    """All that our tables hold, as text."""
    models = apps.get_app_config("django_durable").get_models()
    return " ".join(str(list(model._base_manager.values())) for model in models)


def ids():
    return set(Execution.objects.values_list("pk", flat=True))


def erase(subject, **options):
    return client.erase(subject, actor="dpo", reason="request 17", **options)


@pytest.mark.parametrize("answer", [NAME, "fail"])
def test_nothing_about_the_subject_is_left(durable, flow, ada, answer):
    execution = finished(durable, flow, ada, answer=answer)
    rows.audit(execution_id=execution.id, reason=NAME, before={"x": NAME}, after={"y": NAME})
    rows.delivery(error=f'"{NAME}"', status="failed", due_at=None)
    Delivery.objects.update(event=execution.events.get())
    before = Execution.objects.values("id", "workflow", "status", "created_at", "finished_at").order_by("id")
    tombstones = list(before)
    assert NAME in everything()
    assert erase(ada) == 2
    assert NAME not in everything()
    assert list(before) == tombstones
    assert Step.objects.filter(execution_id=execution.id).count() >= 4


def test_who_asked_and_why_is_kept(durable, flow, ada):
    execution = finished(durable, flow, ada)
    erase(ada)
    entry = AuditEntry.objects.get(execution_id=execution.id, kind="erased")
    assert (entry.actor, entry.reason, entry.before, entry.after) == ("dpo", "request 17", {}, {})


def test_it_can_be_repeated(durable, flow, ada):
    finished(durable, flow, ada)
    assert [erase(ada), erase(ada)] == [2, 0]
    assert AuditEntry.objects.filter(kind="erased").count() == 2


def test_one_that_died_half_way_is_finished_by_the_next(durable, flow, ada, monkeypatch):
    finished(durable, flow, ada)
    calls = []
    real = erasure._erase

    def once(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(erasure, "_erase", once)
    with pytest.raises(KeyboardInterrupt):
        erase(ada)
    monkeypatch.setattr(erasure, "_erase", real)
    assert NAME in everything()
    assert erase(ada) == 1
    assert NAME not in everything()


def test_its_result_says_that_it_was_erased(durable, flow, ada):
    execution = finished(durable, flow, ada)
    erase(ada)
    with pytest.raises(PayloadErasedError):
        client.result(execution)
    assert client.inspect(execution).result == "durable:erased"


@pytest.mark.parametrize("size", [retention.BATCH, 1])  # of a batch; a smaller one parts families
def test_descendants_whose_parents_were_pruned_first_are_erased_too(durable, ada, settings, size):
    @workflow("grandchild")
    def grandchild(ctx, name):
        ctx.sleep(timedelta(days=3))
        return name

    @workflow("child")
    def child(ctx, name):
        ctx.start_child(grandchild.using(on_parent_close="abandon"), name)
        ctx.sleep(timedelta(days=1))
        return name

    @workflow("parent")
    def parent(ctx, name):
        for number in range(2):
            ctx.start_child(f"child-{number}", child.using(on_parent_close="abandon"), name)

    parent.using(subject=ada).start(NAME)
    durable.run_until_idle()
    settings.DURABLE = {**settings.DURABLE, "RETENTION": timedelta(hours=1)}
    for _ in range(2):
        durable.advance(timedelta(days=1, hours=2))
        while not retention.prune(size=size, using="default").is_last:
            pass
    assert set(Execution.objects.values_list("workflow", "parent")) == {("grandchild", None)}
    assert erase(ada, terminate=True) == 2
    assert NAME not in everything()


def test_copies_of_its_children_are_erased_too(durable, flow, ada):
    finished(durable, flow, ada)
    child = Execution.objects.get(workflow="child")
    client.fork(client.restart(child), 0)
    durable.run_until_idle()
    assert erase(ada) == 4
    assert NAME not in everything()


def test_each_is_told_as_an_act_of_an_operator(durable, flow, ada):
    told = []

    def hear(**facts):
        told.append((facts["execution_id"], facts["verb"], facts["actor"], facts["reason"]))

    finished(durable, flow, ada)
    signals.operator_acted.connect(hear)
    try:
        erase(ada)
    finally:
        signals.operator_acted.disconnect(hear)
    assert sorted(told) == [(pk, "erased", "dpo", "request 17") for pk in sorted(ids())]


@pytest.mark.parametrize("order", [client.retry, client.restart, partial(client.fork, from_step=1)])
def test_what_was_erased_cannot_be_gone_on_from(durable, flow, ada, order):
    execution = finished(durable, flow, ada, answer="fail")
    erase(ada)
    before = everything()
    with pytest.raises((ExecutionConflict, PayloadErasedError)):
        order(execution)
    assert everything() == before


def test_a_copy_with_other_input_takes_over_nothing_that_was_erased(durable, flow, ada):
    execution = finished(durable, flow, ada)
    erase(ada)
    before = everything()
    with pytest.raises(ExecutionConflict, match="erased"):
        client.fork(execution, 2, input={"name": "Grace"})
    assert everything() == before
    assert client.fork(execution, 0, input={"name": "Grace"}).origin == execution.id


# Texts that our code, the project's code or an operator's settings put there: no person is in them.
NAMED_BY_CODE = {
    "workflow", "status", "stuck_reason", "queue", "error_type", "on_parent_close", "kind", "target",
    "consumed_by", "receiver", "set_aside_by", "subject_type",
}  # fmt: skip
OF_NO_EXECUTION = {FeedHead, LimitKey, Node, Schedule, ScheduleTick, Turn, WebhookEndpoint}
HARMLESS = {
    (Step, "name"), (SetAsideStep, "name"), (Signal, "name"), (OutboxEvent, "name"),  # the docs ask for that
    (AuditEntry, "actor"),  # who has acted
    (Timer, "holder"),  # open executions only
    (Slot, "fair"), (Slot, "step"),  # open executions only
}  # fmt: skip
DELETED = {WebhookDelivery}


def test_every_text_of_an_execution_is_erased_or_harmless():
    erased = {(model, column) for model, _, columns in offloading.COLUMNS for column in columns}
    erased |= {(model, column) for model, _, values in erasure.TEXTS for column in values}
    texts = {
        (model, field.name)
        for model in apps.get_app_config("django_durable").get_models()
        if model not in OF_NO_EXECUTION | DELETED
        for field in model._meta.concrete_fields
        if isinstance(field, CharField | TextField | JSONField) and field.name not in NAMED_BY_CODE
    }
    assert texts - erased - HARMLESS == set()


def test_others_are_not_touched(durable, flow, ada):
    other = finished(durable, flow, LedgerRow.objects.create(execution_id=uuid4(), step="other", attempt=1))
    assert erase(ada) == 0
    assert client.result(other) == NAME


def test_an_open_one_is_refused_and_nothing_is_erased(durable, flow, ada):
    finished(durable, flow, ada)
    execution = flow.using(subject=ada).start(NAME)
    with pytest.raises(ExecutionConflict, match=str(execution.id)):
        erase(ada)
    assert "durable:erased" not in everything()


def test_open_ones_are_terminated_first_if_wanted(durable, flow, ada):
    execution = begun(durable, flow, ada)
    assert erase(ada, terminate=True) == 2
    assert Execution.objects.get(pk=execution.id).status == "terminated"
    assert NAME not in everything()


def test_events_have_to_be_delivered_before(durable, flow, ada):
    execution = finished(durable, flow, ada)
    rows.delivery(execution.events.get())
    with pytest.raises(ExecutionConflict, match="not delivered"):
        erase(ada)
    assert "durable:erased" not in everything()


def test_the_subject_may_be_deleted_already(durable, flow, ada):
    finished(durable, flow, ada)
    subject = (ada._meta.label, ada.pk)
    ada.delete()
    assert erase(subject) == 2


@pytest.mark.parametrize("subject", [None, "shop.order", ("shop.order",), ("shop.order", None), ("", 1), LedgerRow()])
def test_what_is_no_subject_is_refused(db, subject):
    with pytest.raises(InvalidOptionError, match="subject"):
        erase(subject)
