"""Recorded facts: ctx.note, ctx.now, and the replayable random numbers beside them."""

from datetime import timedelta

from django_durable import client, clock, workflow


def test_a_note_is_a_line_of_the_history(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.note("first")
        ctx.note("second")

    execution = flow.start()
    durable.run(execution)
    told = [(row.kind, row.step_id, row.result) for row in durable.inspect(execution).history]
    assert told == [("note", "note", "first"), ("note", "note#2", "second")]


def test_now_is_recorded_and_the_same_in_every_replay(durable):
    seen, began = [], clock.now()

    @workflow("flow")
    def flow(ctx):
        seen.append(ctx.now())
        ctx.sleep(60)
        seen.append(ctx.now())

    flow.start()
    durable.advance(timedelta(minutes=5))
    assert seen == [began, began, began + timedelta(minutes=1)]


def test_random_numbers_and_uuids_are_the_same_in_every_replay(durable):
    seen = []

    @workflow("flow")
    def flow(ctx):
        seen.append((ctx.random().random(), ctx.uuid4(), ctx.uuid4()))
        ctx.sleep(60)

    first = flow.start()
    durable.advance(timedelta(minutes=5))
    flow.start()
    durable.run_until_idle()
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][2]
    assert seen[2] != seen[0]
    assert len(durable.inspect(first).history) == 1  # random numbers cost no checkpoint


def test_a_note_is_written_once_per_execution(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.note("once")
        ctx.sleep(60)

    execution = flow.start()
    durable.advance(timedelta(minutes=2))
    assert [row.kind for row in durable.inspect(execution).history] == ["note", "sleep"]
    assert client.get(execution).status == "completed"
