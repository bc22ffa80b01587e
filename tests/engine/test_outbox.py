"""ctx.emit: recorded once with its checkpoint, or not at all."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from django_durable import CodecError, EventType, InvalidOptionError, client, on_event, signals, step, workflow
from django_durable.engine import claims, worker
from django_durable.engine.advance import advance
from django_durable.models import Delivery, OutboxEvent, Step, Timer


@dataclass
class Shipped:
    parcel: str


shipped = EventType("outbox.shipped", payload=Shipped)


@pytest.fixture
def flow():
    @workflow("flow")
    def flow(ctx):
        ctx.emit("paid", {"order": 7})
        ctx.sleep(60)
        ctx.emit("paid", {"order": 8})

    return flow


def test_an_event_is_a_checkpoint_and_a_row_of_one_id(durable, flow):
    execution = flow.start()
    durable.run_until_idle()
    checkpoint = Step.objects.get(kind="emit")
    event = OutboxEvent.objects.get()
    assert (checkpoint.name, checkpoint.target, checkpoint.status) == ("emit:paid", "paid", "completed")
    assert (event.id, event.name, event.execution_id) == (checkpoint.id, "paid", execution.id)


def test_a_replay_emits_nothing_again(durable, flow):
    flow.start()
    durable.advance(timedelta(minutes=5))
    assert [row.name for row in Step.objects.filter(kind="emit").order_by("position")] == ["emit:paid", "emit:paid#2"]
    assert OutboxEvent.objects.count() == 2


def test_it_is_addressed_to_the_receivers_that_are_registered_then(durable, flow):
    for name in ("mail", "stock"):
        on_event("paid", name=name)(lambda event: None)
    on_event("other", name="mail")(lambda event: None)
    flow.start()
    worker.advance_one(Timer.objects.get().execution_id, using="default")
    assert sorted(Delivery.objects.values_list("receiver", flat=True)) == ["mail", "stock"]


def test_an_event_that_nobody_receives_is_kept(durable, flow):
    flow.start()
    durable.run_until_idle()
    assert (OutboxEvent.objects.count(), Delivery.objects.count()) == (1, 0)


def test_notes_before_it_are_recorded_with_it(durable):
    @workflow("noted")
    def noted(ctx):
        ctx.note("first")
        ctx.emit("paid")

    noted.start()
    durable.run_until_idle()
    assert list(Step.objects.order_by("position").values_list("kind", flat=True)) == ["note", "emit"]
    assert OutboxEvent.objects.get().id == Step.objects.get(kind="emit").id


@pytest.mark.parametrize(
    ("event", "payload", "error"),
    [
        ("paid", object(), CodecError),
        (shipped, {"parcel": "7"}, InvalidOptionError),
        ("ill eagle", None, InvalidOptionError),
        (7, None, InvalidOptionError),
    ],
    ids=["payload", "class", "name", "type"],
)
def test_bad_input_is_refused_in_every_run_and_nothing_is_written(durable, event, payload, error):
    refused = []

    @workflow("bad")
    def bad(ctx):
        try:
            ctx.emit(event, payload)
        except error as caught:
            refused.append(caught)
        ctx.sleep(60)
        return "went on"

    execution = bad.start()
    durable.advance(timedelta(minutes=5))
    assert client.result(execution) == "went on"
    assert len(refused) == 2
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_who_has_lost_the_lease_emits_nothing():
    @workflow("late")
    def late(ctx):
        ctx.emit("paid")

    run = late.start()
    claim = claims.take(run.id, using="default")
    Timer.objects.update(token=None, holder="")
    advance(claim)
    assert not OutboxEvent.objects.exists()
    assert not Step.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_it_is_also_a_django_signal_once_after_the_commit():
    heard = []

    def hear(sender, *, event, event_id, execution_id, payload, **_):
        heard.append((sender, event, event_id, execution_id, payload, OutboxEvent.objects.count()))

    @workflow("loud")
    def loud(ctx):
        ctx.emit(shipped, Shipped("7"))
        ctx.step(step(name="next")(lambda: None))

    signals.event_emitted.connect(hear)
    try:
        run = loud.start()
        worker.drain("default", using="default")
    finally:
        signals.event_emitted.disconnect(hear)
    assert heard == [(OutboxEvent, "outbox.shipped", OutboxEvent.objects.get().id, run.id, Shipped("7"), 1)]
