"""A context where none can be used: each is an error that says so, and nothing is recorded by it."""

import threading
from datetime import timedelta

import pytest

from django_durable import Cancelled, Case, StepFailed, UpdateFailed, client, workflow
from django_durable.engine import worker
from django_durable.exceptions import ExecutionFailedError, InvalidOptionError
from django_durable.models import Step
from tests.authoring import NO_BROKER, no_op

CALLS = {
    "step": lambda ctx: ctx.step("late", no_op),
    "sleep": lambda ctx: ctx.sleep(1),
    "note": lambda ctx: ctx.note("late"),
    "state": lambda ctx: dict(ctx.state),
    "patched": lambda ctx: ctx.patched("late"),
    "random": lambda ctx: ctx.uuid4(),
}


@pytest.fixture(params=sorted(CALLS))
def call(request):
    return CALLS[request.param]


@pytest.mark.parametrize("waits", [False, True])
def test_a_context_is_of_no_use_once_its_pass_is_over(durable, call, waits):
    kept = []

    @workflow("flow")
    def flow(ctx):
        kept.append(ctx)
        if waits:
            ctx.sleep(60)

    execution = flow.start()
    durable.run_until_idle()
    recorded = Step.objects.history(execution.id).count()
    with pytest.raises(InvalidOptionError, match="only while its workflow function runs"):
        call(kept[0])
    assert Step.objects.history(execution.id).count() == recorded


def test_a_context_belongs_to_the_thread_of_its_pass(durable, call):
    told = []

    @workflow("flow")
    def flow(ctx):
        def other():
            with pytest.raises(InvalidOptionError, match="in the thread that runs it") as refused:
                call(ctx)
            told.append(refused.value)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return "went on"

    execution = flow.start()
    assert durable.run(execution) == "went on"
    assert len(told) == 1
    assert not Step.objects.history(execution.id).exists()


def test_a_thread_that_a_step_body_has_begun_cannot_use_it_either(durable):
    told = []

    @workflow("flow")
    def flow(ctx):
        def body():
            def other():
                with pytest.raises(InvalidOptionError) as refused:
                    ctx.step("inner", no_op)
                told.append(refused.value)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

        ctx.step("outer", body)

    execution = flow.start()
    durable.run(execution)
    assert len(told) == 1
    assert [step.name for step in Step.objects.history(execution.id)] == ["outer"]


def test_the_numbers_of_the_context_outside_are_refused_in_a_branch(durable):
    """A branch may be run again in one pass, and its replay would draw others."""

    @workflow("flow")
    def flow(ctx):
        def branch(inner):
            inner.sleep(1)
            return ctx.uuid4()

        ctx.gather(branch, lambda inner: inner.sleep(2))

    execution = flow.start()
    durable.run_until_idle()
    durable.advance(timedelta(seconds=2))
    with pytest.raises(ExecutionFailedError, match="must use the context that it is given"):
        client.result(execution, timeout=0)


def test_numbers_cannot_be_drawn_in_a_step_body(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.step("draw", lambda: str(ctx.uuid4()))

    with pytest.raises(ExecutionFailedError, match="cannot be made inside the body of step 'draw'"):
        durable.run(flow.start())


@pytest.mark.parametrize(
    "part",
    [
        lambda ctx, ask: ctx.switch("part", 1, [Case("one", ask, no_op)]),
        lambda ctx, ask: ctx.loop("part", ask, no_op, max_iterations=1),
        lambda ctx, ask: ctx.wait_until(ask, id="part"),
    ],
)
def test_conditions_use_no_context(durable, call, part):
    """Replays do not ask them again."""

    @workflow("flow")
    def flow(ctx):
        part(ctx, lambda value: call(ctx) or True)

    execution = flow.start()
    with pytest.raises(ExecutionFailedError, match="uses no context"):
        durable.run(execution)
    assert [step.name for step in Step.objects.history(execution.id)] == ["part"]


def cancelled():
    raise Cancelled


@pytest.mark.parametrize("is_beside_another", [False, True])
def test_control_flow_out_of_a_step_body_is_the_failure_of_that_step(transactional_db, settings, is_beside_another):
    """In a thread beside the workflow function there is nothing that it could leave."""
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 4}

    @workflow("flow")
    def flow(ctx):
        def branch(ctx):
            with pytest.raises(StepFailed, match=r"raised Cancelled\(\); let it raise an Exception"):
                ctx.step("one", cancelled)
            return "went on"

        others = [lambda ctx: ctx.step("two", no_op)] if is_beside_another else []
        return ctx.gather(branch, *others)[0]

    execution = flow.start()
    worker.drain("default", using="default")
    assert client.result(execution, timeout=0) == "went on"


def test_control_flow_out_of_an_update_is_its_callers_error(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    @flow.update("stop")
    def stop(state, payload):
        state["stopped"] = True
        raise Cancelled

    execution = flow.start()
    asked = client.send_update(execution, "stop")
    durable.run_until_idle()
    with pytest.raises(UpdateFailed, match="Cancelled"):
        client.update_result(execution, asked, timeout=0)
    durable.signal(execution, "go", 1)
    assert durable.run(execution) == 1
