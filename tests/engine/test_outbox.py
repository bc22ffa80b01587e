"""ctx.emit: recorded once with its checkpoint, or not at all."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from django_durable import (
    Cancelled,
    CodecError,
    EventType,
    ExecutionFailedError,
    InvalidOptionError,
    StepFailed,
    client,
    on_event,
    signals,
    step,
    workflow,
)
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, worker
from django_durable.engine.advance import advance
from django_durable.models import Delivery, OutboxEvent, Step, Timer
from tests.authoring import Deployed, Killed, no_op


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


def test_an_id_names_its_checkpoint(durable):
    @workflow("named")
    def named(ctx):
        ctx.emit("paid", id="told")

    named.start()
    durable.run_until_idle()
    assert (Step.objects.get().name, OutboxEvent.objects.get().name) == ("told", "paid")


# -- recorded with what comes next ---------------------------------------------------------------------


@step(name="look")
def look():
    """What is recorded when a body begins."""
    return OutboxEvent.objects.count()


def ended(durable, code):
    run = Deployed("code", code).workflow.start()
    return durable.run(run)


def test_it_is_recorded_before_the_body_of_the_next_step_begins(durable):
    assert ended(durable, lambda ctx: [ctx.emit("paid"), ctx.emit("paid"), ctx.step(look)][-1]) == 2


def test_one_that_is_followed_by_an_at_most_once_step_is_too(durable):
    careful = step(name="careful", at_most_once=True)(look.fn)
    assert ended(durable, lambda ctx: [ctx.emit("paid"), ctx.step(careful)][-1]) == 1


def test_an_atomic_step_takes_it_into_its_own_transaction(durable):
    whole = step(name="whole", atomic=True)(look.fn)
    assert ended(durable, lambda ctx: [ctx.emit("paid"), ctx.step(whole)][-1]) == 0
    assert OutboxEvent.objects.count() == 1


def test_it_does_not_share_the_failure_of_an_atomic_step(durable):
    def fails():
        raise ValueError("no")

    def code(ctx):
        ctx.emit("paid")
        try:
            ctx.step(step(name="fails", atomic=True)(fails))
        except StepFailed:
            ctx.sleep(60)

    Deployed("code", code).workflow.start()
    durable.run_until_idle()
    assert OutboxEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_body_that_takes_its_worker_along_takes_no_event_along():
    def fatal():
        raise Killed

    deployed = Deployed("fatal", lambda ctx: [ctx.emit("paid"), ctx.step(step(name="fatal")(fatal))])
    run = deployed.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    before = OutboxEvent.objects.get().id
    deployed.code = lambda ctx: [ctx.emit("paid"), ctx.step(step(name="fatal")(no_op))]
    Timer.objects.update(due_at=DatabaseNow())
    worker.advance_one(run.id, using="default")
    assert client.get(run).status == "completed"
    assert OutboxEvent.objects.get().id == before


def test_a_cancellation_that_comes_with_it_is_told_before_the_next_body(durable):
    ran = []

    def code(ctx):
        ctx.emit("paid")
        client.cancel(run)
        ctx.step(step(name="next")(lambda: ran.append(1)))

    run = Deployed("code", code).workflow.start()
    durable.run_until_idle()
    assert (client.get(run).status, ran, OutboxEvent.objects.count()) == ("cancelled", [], 1)


@pytest.mark.parametrize("interruption", ["cancel", "deadline"])
def test_a_call_that_is_interrupted_emits_nothing(durable, interruption):
    def code(ctx):
        try:
            ctx.sleep(60)
        except Cancelled:
            ctx.emit("cleaned")
            raise
        ctx.emit("paid")

    deployed = Deployed("code", code)
    run = deployed.workflow.using(timeout=30).start()
    durable.run_until_idle()
    if interruption == "cancel":
        client.cancel(run)
    durable.advance(timedelta(minutes=1))
    assert client.get(run).status in ("cancelled", "timed_out")
    assert [event.name for event in OutboxEvent.objects.all()] == ["cleaned"]


def test_the_call_itself_may_be_interrupted(durable):
    def code(ctx):
        client.cancel(run)
        ctx.now()  # meets the news
        ctx.emit("paid")

    run = Deployed("code", code).workflow.start()
    durable.run_until_idle()
    assert client.get(run).status == "cancelled"
    assert list(Step.objects.filter(kind="emit").values_list("status", flat=True)) == ["cancelled"]
    assert not OutboxEvent.objects.exists()


# -- in branches, sagas and children -------------------------------------------------------------------


def emitted():
    return sorted(f"{Step.objects.get(pk=event.id).name} {event.name}" for event in OutboxEvent.objects.all())


def test_a_branch_emits_once_however_often_it_is_replayed(durable):
    def left(ctx):
        ctx.emit("paid")
        ctx.sleep(60)
        ctx.emit("paid")

    def right(ctx):
        ctx.sleep(90)
        ctx.switch("way", "on", {"on": lambda ctx: ctx.emit("shipped")})

    Deployed("code", lambda ctx: ctx.parallel({"left": left, "right": right})).workflow.start()
    durable.advance(timedelta(minutes=5))
    assert emitted() == [
        "parallel/left/emit:paid paid",
        "parallel/left/emit:paid#2 paid",
        "parallel/right/way/on/emit:shipped shipped",
    ]


def test_what_the_loser_of_a_race_has_told_stays_told(durable):
    def slow(ctx):
        ctx.emit("tried")
        ctx.sleep(60)
        ctx.emit("slow")

    def fast(ctx):
        ctx.sleep(30)
        ctx.emit("fast")

    told = []
    on_event("tried", name="told")(told.append)
    run = Deployed("code", lambda ctx: ctx.race({"slow": slow, "fast": fast})[0]).workflow.start()
    durable.advance(timedelta(minutes=5))
    assert client.result(run) == "fast"
    assert emitted() == ["race/fast/emit:fast fast", "race/slow/emit:tried tried"]
    assert len(told) == 1


def test_the_loser_that_is_beaten_in_the_same_pass_has_told_too(durable):
    def waits(ctx):
        ctx.emit("tried")
        ctx.sleep(60)

    assert ended(durable, lambda ctx: ctx.race({"waits": waits, "ends": lambda ctx: 7})[1]) == 7
    assert emitted() == ["race/waits/emit:tried tried"]


def test_nothing_takes_an_event_back(durable):
    told = []
    on_event("paid", name="told")(told.append)

    def code(ctx):
        ctx.step("charge", no_op, compensate=no_op)
        ctx.emit("paid")
        raise ValueError("no")

    run = Deployed("code", code).workflow.start()
    durable.run_until_idle()
    assert (client.get(run).status, client.get(run).compensated, len(told)) == ("failed", True, 1)


def test_what_was_recorded_before_a_termination_is_delivered_after_it(durable, flow):
    told = []
    on_event("paid", name="told")(told.append)
    run = flow.start()
    worker.advance_one(run.id, using="default")
    client.terminate(run)
    durable.advance(timedelta(minutes=5))
    assert [event.payload for event in told] == [{"order": 7}]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_what_a_termination_has_overtaken_was_never_emitted():
    def code(ctx):
        ctx.emit("paid")
        client.terminate(run)

    run = Deployed("code", code).workflow.start()
    worker.advance_one(run.id, using="default")
    assert client.get(run).status == "terminated"
    assert not OutboxEvent.objects.exists()


def test_a_child_has_events_of_its_own(durable):
    child = Deployed("child", lambda ctx: ctx.emit("paid"))
    parent = Deployed("parent", lambda ctx: [ctx.emit("began"), ctx.call(child.workflow)])
    run = parent.workflow.start()
    durable.run_until_idle()
    events = dict(OutboxEvent.objects.values_list("name", "execution_id"))
    assert events == {"began": run.id, "paid": Step.objects.get(name="emit:paid").execution_id}


def test_a_step_body_cannot_emit(durable):
    def body(ctx):
        ctx.emit("paid")

    with pytest.raises(ExecutionFailedError, match="cannot be made inside the body of step 'body'"):
        ended(durable, lambda ctx: ctx.step("body", body, ctx))
    assert not OutboxEvent.objects.exists()
