"""A dry run ends at what is not recorded, in each branch. None of these tests has the mark to reach a database."""

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from django_durable import Case, Retry, codec, step
from django_durable.engine import dry_run
from django_durable.engine.history import Checkpoint, PendingSignal
from django_durable.engine.recordings import Recording
from django_durable.exceptions import (
    CodecError,
    LeaseLostError,
    NondeterminismError,
    SwallowedControlFlowError,
    UnknownWorkflowError,
)
from tests.authoring import Deployed

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2120, 1, 1, tzinfo=UTC)
UNREADABLE = '[1,{"$object":["gone.Class",{}]}]'


def body(*_):
    pytest.fail("a body ran")


async def async_body():
    pytest.fail("a body ran")


def settled(name, value=None, kind="step", position=0):
    result = codec.encode(value)
    return Checkpoint(position=position, name=name, kind=kind, started_at=LONG_AGO, finished_at=LONG_AGO, result=result)


def unsettled(name, kind, status, **values):
    return Checkpoint(position=0, name=name, kind=kind, started_at=LONG_AGO, status=status, **values)


@pytest.fixture
def rehearse():
    """Replay code against checkpoints."""

    def rehearse(code, *history, inbox=(), given='[1,{"args":[],"kwargs":{}}]'):
        flow = Deployed("dry.flow", code).workflow
        recorded = Recording(
            id=UUID(int=7),
            workflow=flow.name,
            version=flow.version,
            status="waiting",
            input=given,
            history=list(history),
            inbox=list(inbox),
        )
        return dry_run.replay(recorded)

    return rehearse


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda ctx: ctx.step(body), id="step"),
        pytest.param(lambda ctx: ctx.step("async", async_body), id="async step"),
        pytest.param(lambda ctx: ctx.step(step(name="atomic", atomic=True)(body)), id="atomic step"),
        pytest.param(lambda ctx: ctx.step(step(name="once", at_most_once=True)(body)), id="at-most-once step"),
        pytest.param(lambda ctx: ctx.step(step(name="limited", timeout=5)(body)), id="step with a time-out"),
        pytest.param(lambda ctx: ctx.step(step(name="retried", retry=Retry())(body)), id="step with retries"),
        pytest.param(lambda ctx: ctx.sleep(60), id="sleep"),
        pytest.param(lambda ctx: ctx.sleep(0), id="sleep that is over"),
        pytest.param(lambda ctx: ctx.sleep_until(LONG_AGO), id="sleep until the past"),
        pytest.param(lambda ctx: ctx.wait_for_signal("go"), id="wait"),
        pytest.param(lambda ctx: ctx.wait_for_signal("go", timeout=0), id="wait that is over"),
        pytest.param(lambda ctx: ctx.gather(lambda ctx: ctx.step(body)), id="branch"),
        pytest.param(lambda ctx: ctx.now(), id="now"),
    ],
)
@pytest.mark.parametrize("history", [[], [settled("first")]], ids=["at the start", "after a step"])
def test_a_call_that_is_not_recorded_is_where_it_goes_on_from(rehearse, call, history):
    came_to = []

    def code(ctx):
        if history:
            ctx.step("first", body)
        came_to.append("the call")
        call(ctx)
        came_to.append("beyond it")

    report = rehearse(code, *history)

    assert (report.fits, report.end) == (True, "open")
    assert came_to == ["the call"]


@pytest.mark.parametrize(
    ("call", "recorded"),
    [
        pytest.param(
            lambda ctx: ctx.step(step(name="a", retry=Retry())(body)),
            unsettled("a", "step", "retrying", attempts=1, due_at=LONG_AGO),
            id="attempt that is due",
        ),
        pytest.param(
            lambda ctx: ctx.step(step(name="a", retry=Retry())(body)),
            unsettled("a", "step", "retrying", attempts=1, due_at=FAR),
            id="attempt that is not due",
        ),
        pytest.param(
            lambda ctx: ctx.step(step(name="a", at_most_once=True)(body)),
            unsettled("a", "step", "started", attempts=1),
            id="step whose outcome is unknown",
        ),
        pytest.param(
            lambda ctx: ctx.sleep(60), unsettled("sleep", "sleep", "waiting", due_at=LONG_AGO), id="sleep that is over"
        ),
        pytest.param(lambda ctx: ctx.sleep(60), unsettled("sleep", "sleep", "waiting", due_at=FAR), id="sleep"),
        pytest.param(
            lambda ctx: ctx.wait_for_signal("go"), unsettled("signal:go", "wait", "waiting"), id="wait without end"
        ),
        pytest.param(
            lambda ctx: ctx.wait_for_signal("go"),
            unsettled("signal:go", "wait", "waiting", due_at=LONG_AGO),
            id="wait that is over",
        ),
    ],
)
def test_a_call_that_is_recorded_as_open_is_where_it_goes_on_from(rehearse, call, recorded):
    def code(ctx):
        call(ctx)
        pytest.fail("it went on")

    report = rehearse(code, recorded)

    assert (report.fits, report.end) == (True, "open")


def test_what_is_recorded_is_handed_out_to_the_end(rehearse):
    report = rehearse(
        lambda ctx: [ctx.step("a", body), ctx.step("a", body)], settled("a", 1), settled("a#2", 2, position=1)
    )
    assert (report.end, report.value) == ("returned", [1, 2])


def test_a_pending_signal_stays_pending(rehearse):
    pending = PendingSignal(UUID(int=1), "go", "[1,5]")
    report = rehearse(lambda ctx: ctx.wait_for_signal("go") and pytest.fail("consumed"), inbox=[pending])
    assert (report.fits, report.end) == (True, "open")


def test_a_pending_signal_that_this_code_cannot_read_is_told(rehearse):
    pending = PendingSignal(UUID(int=1), "go", UNREADABLE)
    report = rehearse(lambda ctx: ctx.wait_for_signal("go"), inbox=[pending])
    assert isinstance(report.mismatch, CodecError)
    assert "gone.Class" in str(report.mismatch)


def test_a_difference_is_told_with_both_sides_and_the_line(rehearse):
    def code(ctx):
        ctx.step("new", body)

    report = rehearse(code, settled("old"))

    assert isinstance(report.mismatch, NondeterminismError)
    line = code.__code__.co_firstlineno + 1
    where = f"{__file__}:{line}"
    assert report.mismatch.difference == (
        f"Position 0: the history has step 'old', the code asked for step 'new' at {where}."
    )


@pytest.mark.parametrize("part", ["parallel", "race"])
def test_a_difference_in_a_branch_behind_one_that_goes_on_is_told(rehearse, part):
    def code(ctx):
        getattr(ctx, part)("both", {"left": left, "right": lambda ctx: ctx.step("new", body)})

    def left(ctx):
        ctx.step("first", body)
        ctx.step("second", body)

    report = rehearse(
        code,
        settled("both", ["left", "right"], kind=part),
        settled("both/left/first", position=1),
        settled("both/right/old", position=2),
    )

    assert "step 'both/right/old'" in str(report.mismatch)


def test_branches_that_all_go_on_are_where_it_goes_on_from(rehearse):
    asked = []

    def code(ctx):
        ctx.parallel("both", {"left": left, "right": right})
        pytest.fail("both branches have ended")

    def left(ctx):
        ctx.step("first", body)
        ctx.switch("way", 1, [Case("one", asked.append, body)])

    def right(ctx):
        ctx.step("first", body)
        ctx.wait_for_execution(ctx.start_child("ship", Deployed("dry.child", body).workflow))

    report = rehearse(
        code,
        settled("both", ["left", "right"], kind="parallel"),
        settled("both/left/first", position=1),
        settled("both/right/first", position=2),
        settled("both/right/ship", UUID(int=8), kind="child", position=3),
        unsettled("both/right/join:both>right>ship", "join", "waiting"),
    )

    assert (report.fits, report.end, asked) == (True, "open", [])


def test_a_swallowed_suspension_is_told(rehearse):
    def code(ctx):
        try:
            ctx.sleep(60)
        except BaseException:
            return "went on"

    report = rehearse(code, unsettled("sleep", "sleep", "waiting", due_at=FAR))

    assert isinstance(report.mismatch, SwallowedControlFlowError)


def test_code_that_catches_everything_around_a_step_is_not_blamed_for_the_end_of_the_dry_run(rehearse):
    """In a real pass the step would run there and nothing would be raised."""

    def code(ctx):
        try:
            ctx.step(body)
        except BaseException:
            return "went on"

    report = rehearse(code)

    assert (report.fits, report.end) == (True, "open")


@pytest.mark.parametrize(
    ("given", "why"),
    [(UNREADABLE, "gone.Class"), ("[1,5]", "input: TypeError"), ("no text of ours", "not valid JSON")],
    ids=["class that is gone", "something else", "no JSON"],
)
def test_an_input_that_cannot_be_read_is_told(rehearse, given, why):
    report = rehearse(body, given=given)
    assert isinstance(report.mismatch, CodecError)
    assert why in str(report.mismatch)


class WrongKey:
    def seal(self, text):
        return text

    def open(self, text):
        raise PermissionError("wrong key")


def test_an_input_that_the_cipher_does_not_open_is_told(rehearse, settings):
    settings.DURABLE = {"PAYLOAD_CIPHER": f"{__name__}.WrongKey"}
    assert str(rehearse(body).mismatch) == "input: PermissionError: wrong key"


def test_a_result_that_cannot_be_read_is_told(rehearse):
    recorded = Checkpoint(
        position=0, name="a", kind="step", started_at=LONG_AGO, finished_at=LONG_AGO, result=UNREADABLE
    )
    report = rehearse(lambda ctx: ctx.step("a", body), recorded)
    assert isinstance(report.mismatch, CodecError)


def test_code_that_is_gone_is_told(rehearse):
    recorded = Recording(id=UUID(int=7), workflow="dry.gone", version=1, status="waiting", input="[1,{}]", history=[])
    with pytest.raises(UnknownWorkflowError):
        dry_run.replay(recorded)


def test_it_logs_nothing_and_shows_no_progress(rehearse, caplog):
    def code(ctx):
        ctx.log.warning("replayed")
        ctx.progress(1)
        ctx.step("a", body)
        ctx.log.warning("after the last checkpoint")
        ctx.progress(2)
        ctx.step("b", body)

    with caplog.at_level(logging.DEBUG):
        assert rehearse(code, settled("a")).end == "open"
    assert caplog.records == []


def test_the_recording_is_left_as_it_was(rehearse):
    history = [unsettled("sleep", "sleep", "waiting", due_at=LONG_AGO)]
    before = list(history)
    rehearse(lambda ctx: ctx.sleep(timedelta(days=1)), *history)
    assert history == before


@pytest.mark.parametrize(
    "write",
    [
        lambda journal, checkpoint: journal.append(checkpoint),
        lambda journal, checkpoint: journal.settle(checkpoint, is_new=True),
        lambda journal, checkpoint: journal.settle(checkpoint, is_new=False),
        lambda journal, checkpoint: journal.settle(
            checkpoint, is_new=True, consuming=PendingSignal(UUID(int=1), "", "")
        ),
        lambda journal, checkpoint: journal.record_in_transaction(checkpoint, is_new=True),
        lambda journal, checkpoint: journal.record_in_transaction(checkpoint, is_new=False),
    ],
    ids=["append", "settle a new one", "settle an open one", "consume", "atomic", "atomic retry"],
)
def test_its_journal_refuses_every_write_without_asking_the_database(write):
    recorded = Recording(id=UUID(int=7), workflow="dry.flow", version=1, status="waiting", input="", history=[])
    with pytest.raises(LeaseLostError):
        write(dry_run.DryRun(recorded).journal, settled("a"))
