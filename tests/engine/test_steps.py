"""Steps: attempts, back-off, declared errors, atomic and at-most-once bodies, time limits."""

import logging
from datetime import timedelta

import pytest

from django_durable import (
    NonRetryable,
    Retry,
    RetryAfter,
    StepFailed,
    client,
    current_step,
    step,
    workflow,
)
from django_durable.engine import worker
from django_durable.exceptions import ExecutionFailedError, NotInWorkflowError
from django_durable.models import StepStatus
from tests.authoring import no_op, only_step, started

STEADY = {"initial_seconds": 10, "multiplier": 1, "jitter": 0}


class Boom(Exception):
    pass


class Declined(Exception):
    def __init__(self, code, *, amount):
        super().__init__(f"declined: {code}")
        self.code, self.amount = code, amount


class InsufficientFunds(Declined):
    pass


class Flaky:
    """A body that fails until it has been called often enough."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.infos = []

    def __call__(self):
        self.infos.append(current_step())
        if self.failures:
            raise self.failures.pop(0)
        return "done"


# -- results and ids -----------------------------------------------------------------------------------


def test_a_step_runs_once_however_often_the_function_is_replayed(durable):
    runs = []

    @workflow("flow")
    def flow(ctx):
        value = ctx.step("count", lambda: runs.append(1) or len(runs))
        ctx.sleep(60)
        ctx.sleep(60)
        return value

    execution = flow.start()
    durable.advance(timedelta(minutes=3))
    assert client.result(execution) == 1
    assert runs == [1]


def test_the_first_run_sees_what_every_replay_sees(durable):
    seen = []

    @workflow("flow")
    def flow(ctx):
        given = {"list": [1], "tuple": (1, 2)}
        value = ctx.step("make", lambda: given)
        seen.append((value, value is given))
        ctx.sleep(60)

    flow.start()
    durable.advance(timedelta(minutes=2))
    assert seen == [({"list": [1], "tuple": (1, 2)}, False)] * 2


def test_repeated_names_number_themselves_in_order(durable):
    @workflow("flow")
    def flow(ctx):
        for number in range(3):
            ctx.step("same", no_op, number)

    execution = flow.start()
    durable.run(execution)
    assert [row.step_id for row in durable.inspect(execution).history] == ["same", "same#2", "same#3"]


def test_arguments_reach_the_body(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.step("join", lambda *args, **kwargs: [list(args), kwargs], 1, 2, three=3)

    assert durable.run(flow.start()) == [[1, 2], {"three": 3}]


@pytest.mark.parametrize(
    "call",
    [
        lambda ctx: ctx.step("inner", no_op),
        lambda ctx: ctx.sleep(1),
        lambda ctx: ctx.wait_for_signal("go"),
        lambda ctx: ctx.signal_token("go", expires=1),
        lambda ctx: ctx.note("hello"),
        lambda ctx: ctx.now(),
    ],
    ids=["step", "sleep", "wait_for_signal", "signal_token", "note", "now"],
)
def test_durable_calls_inside_a_body_are_refused(durable, call):
    @workflow("flow")
    def flow(ctx):
        ctx.step("outer", lambda: call(ctx))

    execution = flow.start()
    with pytest.raises(ExecutionFailedError, match="cannot be made inside the body of step 'outer'"):
        durable.run(execution)
    assert [row.step_id for row in durable.inspect(execution).history] == ["outer"]


def test_a_value_that_cannot_be_stored_fails_the_step_without_a_retry(durable):
    execution = started(lambda: object(), retry=Retry(max_attempts=5))
    with pytest.raises(ExecutionFailedError, match="CodecError"):
        durable.run(execution)
    assert only_step(execution).attempts == 1


# -- current_step() ------------------------------------------------------------------------------------


def test_current_step_is_the_same_step_over_all_attempts(durable):
    body = Flaky(Boom(), Boom())
    execution = started(body, retry=Retry(max_attempts=3, **STEADY))
    durable.advance(timedelta(minutes=1))
    assert [info.attempt for info in body.infos] == [1, 2, 3]
    assert {info.step_id for info in body.infos} == {"only"}
    assert {info.execution_id for info in body.infos} == {execution.id}
    assert len({info.idempotency_key for info in body.infos}) == 1


def test_current_step_is_known_to_async_and_threaded_bodies(durable):
    async def asynchronous():
        return current_step().step_id

    assert durable.run(started(asynchronous)) == "only"


def test_the_workflow_itself_is_no_step(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.step("a", no_op)
        current_step()

    with pytest.raises(ExecutionFailedError, match=NotInWorkflowError.__name__):
        durable.run(flow.start())


# -- retry ---------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_recorded_before_the_next(durable):
    execution = started(Flaky(Boom("no")), retry=Retry(max_attempts=3, **STEADY))
    durable.run_until_idle()
    row = only_step(execution)
    assert (row.status, row.attempts) == (StepStatus.RETRYING, 1)
    assert row.due_at - row.started_at == timedelta(seconds=10)


def test_a_long_back_off_parks_and_frees_the_worker(durable):
    execution = started(Flaky(Boom("no")), retry=Retry(max_attempts=3, **STEADY))
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for) == ("retrying", "retry of only after attempt 1")
    assert not found.timer.is_leased
    assert durable.advance(timedelta(seconds=9)) == 0
    durable.advance(timedelta(seconds=1))
    assert client.result(execution) == "done"


def test_attempts_survive_the_worker(durable):
    body = Flaky(Boom(), Boom(), Boom(), Boom())
    execution = started(body, retry=Retry(max_attempts=3, **STEADY))
    durable.advance(timedelta(hours=1))
    assert len(body.infos) == 3
    with pytest.raises(ExecutionFailedError, match="failed after 3 attempts"):
        client.result(execution)


@pytest.mark.django_db(transaction=True)
def test_a_short_back_off_is_waited_out_in_place(polling):
    execution = started(Flaky(Boom(), Boom()), retry=Retry(initial_seconds=0.01, jitter=0))
    assert worker.drain("default", using="default") == 1
    assert client.result(execution) == "done"


@pytest.mark.parametrize(
    ("error", "options", "attempts"),
    [
        (NonRetryable("stop"), {}, 1),
        (Boom("no"), {"not_on": (Boom,)}, 1),
        (Boom("no"), {"retry_on": (KeyError,)}, 1),
        (Boom("no"), {"retry_on": (Boom,)}, 4),
        (Boom("no"), {"max_elapsed_seconds": 15}, 2),
        (RetryAfter(1), {}, 4),
    ],
    ids=["NonRetryable", "not_on", "retry_on others", "retry_on", "max_elapsed", "RetryAfter counts"],
)
def test_the_policy_decides_how_often_it_is_tried(durable, error, options, attempts):
    body = Flaky(*[error] * 10)
    started(body, retry=Retry(max_attempts=4, **STEADY, **options))
    durable.advance(timedelta(hours=1))
    assert len(body.infos) == attempts


def test_retry_after_sets_the_time_of_the_next_attempt(durable):
    execution = started(Flaky(RetryAfter(77)), retry=Retry(max_attempts=2, **STEADY))
    durable.run_until_idle()
    row = only_step(execution)
    assert row.due_at - row.started_at == timedelta(seconds=77)


def test_an_exhausted_step_tells_the_workflow_everything(durable):
    caught = []

    def explode():
        raise Boom("the third wire")

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="charge", retry=Retry(max_attempts=2, **STEADY))(explode))
        except StepFailed as error:
            caught.append(error)
        ctx.sleep(60)
        return "went on"

    execution = flow.start()
    durable.advance(timedelta(minutes=5))
    assert client.result(execution) == "went on"
    for error in caught:  # the first run and the replay
        assert type(error) is StepFailed
        assert (error.step_id, error.message, error.attempts) == ("charge", "the third wire", 2)
        assert error.type_name == f"{__name__}.Boom"
        assert "in explode" in error.traceback_text
    assert len(caught) == 2


def test_a_failed_attempt_is_announced_with_what_comes_next(durable, django_capture_on_commit_callbacks, caplog):
    with (
        caplog.at_level(logging.WARNING, "django_durable.execution"),
        django_capture_on_commit_callbacks(execute=True),
    ):
        started(Flaky(Boom("no"), Boom("no")), retry=Retry(max_attempts=2, **STEADY))
        durable.advance(timedelta(minutes=1))
    told = [(record.durable["attempt"], record.durable["will_retry"]) for record in caplog.records]
    assert told == [(1, True), (2, False)]


# -- raises= -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Declined("no money", amount=12), InsufficientFunds("poor", amount=3)], ids=repr)
def test_a_declared_error_is_raised_as_itself_in_every_run(durable, error):
    caught, body = [], Flaky(error, error)

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="pay", raises=(Declined, InsufficientFunds), retry=Retry())(body))
        except Declined as declined:
            caught.append((type(declined), str(declined), declined.code, declined.amount))
        ctx.sleep(60)

    flow.start()
    durable.advance(timedelta(minutes=2))
    assert caught == [(type(error), str(error), error.code, error.amount)] * 2
    assert len(body.infos) == 1  # a business error is an answer, not a failure to try again


def test_an_error_below_a_declared_one_arrives_as_the_declared_one(durable):
    caught = []

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="pay", raises=(Declined,))(Flaky(InsufficientFunds("poor", amount=3))))
        except Declined as declined:
            caught.append((type(declined), declined.code))

    durable.run(flow.start())
    assert caught == [(Declined, "poor")]


def test_an_undeclared_error_is_never_made_again(durable):
    execution = started(Flaky(Declined("x", amount=1)), raises=(KeyError,))
    with pytest.raises(ExecutionFailedError) as caught:
        durable.run(execution)
    assert caught.value.type_name == f"{__name__}.Declined"
