"""Context: what is checked before the engine is asked, and what a step body may know."""

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.core.validators import EmailValidator

from django_durable import Context, SignalType, StepInfo, current_step
from django_durable.exceptions import ConfigurationError, InvalidOptionError, NotInWorkflowError, SignalRefusedError
from django_durable.running import running_step


class Recorder:
    """A Runtime that keeps what it was asked for."""

    execution_id = uuid.UUID(int=5)
    attempt = 2

    def __init__(self):
        self.calls = []
        self.numbers = random.Random(5)

    def random(self):
        return self.numbers

    def log(self):
        return "a logger"

    def now(self):
        return "a time"

    def __getattr__(self, name):
        return lambda *args: self.calls.append((name, *args))


@dataclass(frozen=True)
class Approval:
    by: str


@pytest.fixture
def runtime():
    return Recorder()


@pytest.fixture
def ctx(runtime):
    return Context(runtime)


def charge(order_id):
    return order_id


def test_a_step_is_named_by_its_body_or_by_the_caller(ctx, runtime):
    ctx.step(charge, 1, fast=True)
    ctx.step("second", charge, 2)
    assert runtime.calls == [
        ("step", None, charge, (1,), {"fast": True}, None),
        ("step", "second", charge, (2,), {}, None),
    ]


@pytest.mark.parametrize("args", [("id",), ("id", 3), ("id", None)], ids=repr)
def test_an_id_without_a_function_is_refused(ctx, args):
    with pytest.raises(InvalidOptionError, match="second argument is the function"):
        ctx.step(*args)


@pytest.mark.parametrize("first", [3, None, ["charge"]], ids=repr)
def test_a_step_that_is_no_function_is_refused(ctx, first):
    with pytest.raises(InvalidOptionError, match="give a function"):
        ctx.step(first)


@pytest.mark.parametrize("step_id", ["", "a b", "a\n", "ä", "x" * 201, "__a", "rollback:a", "a#2"], ids=repr)
def test_odd_step_ids_are_refused(ctx, runtime, step_id):
    with pytest.raises(InvalidOptionError, match="Step id"):
        ctx.step(step_id, charge, 1)
    assert runtime.calls == []


@pytest.mark.parametrize(
    "call",
    [
        partial(Context.sleep, duration=-1),
        partial(Context.sleep, duration=timedelta(seconds=-1)),
        partial(Context.sleep, duration=True),
        partial(Context.sleep, duration="5"),
        partial(Context.sleep, duration=float("nan")),
        partial(Context.sleep, duration=float("inf")),
        partial(Context.sleep, duration=None),
        partial(Context.sleep_until, at=datetime(2030, 1, 1)),
        partial(Context.sleep_until, at="tomorrow"),
        partial(Context.sleep_until, at=5),
        partial(Context.wait_for_signal, signal="a b"),
        partial(Context.wait_for_signal, signal=3),
        partial(Context.wait_for_signal, signal="a", timeout=-1),
        partial(Context.wait_for_signal, signal="a", timeout=True),
        partial(Context.wait_for_signal, signal="a", timeout="5"),
        partial(Context.signal_token, signal="a b", expires=60),
        partial(Context.signal_token, signal=3, expires=60),
        partial(Context.signal_token, signal="a", expires=0),
        partial(Context.signal_token, signal="a", expires=timedelta(0)),
        partial(Context.signal_token, signal="a", expires=-1),
        partial(Context.signal_token, signal="a", expires=None),
        partial(Context.signal_token, signal="a", expires=float("inf")),
        partial(Context.note, text=3),
        partial(Context.note, text="x" * 2001),
        partial(Context.progress, current=-1),
        partial(Context.progress, current=1.5),
        partial(Context.progress, current=True),
        partial(Context.progress, current=1, total=2**63),
    ],
    ids=lambda call: f"{call.func.__name__} {call.keywords!r:.60}",
)
def test_bad_arguments_are_refused_before_the_engine_is_asked(ctx, runtime, call):
    with pytest.raises(InvalidOptionError):
        call(ctx)
    assert runtime.calls == []


def test_durations_arrive_as_seconds_and_times_in_utc(ctx, runtime):
    ctx.sleep(timedelta(minutes=2))
    ctx.wait_for_signal("go", timeout=timedelta(hours=1), default="late")
    ctx.sleep_until(datetime.fromisoformat("2030-01-01T02:00+02:00"))
    ctx.signal_token("go", expires=timedelta(days=1))
    assert runtime.calls == [
        ("sleep", None, 120.0),
        ("wait_for_signal", None, "go", 3600.0, "late"),
        ("sleep_until", None, datetime(2030, 1, 1, tzinfo=UTC)),
        ("signal_token", "go", 86400.0),
    ]


def test_a_signal_type_is_its_name(ctx, runtime):
    ctx.wait_for_signal(SignalType("go"))
    ctx.signal_token(SignalType("go"), expires=60)
    assert runtime.calls == [("wait_for_signal", None, "go", None, None), ("signal_token", "go", 60.0)]


def test_a_signal_type_refuses_another_payload():
    kind = SignalType("orders.approved", payload=Approval)
    kind.check(Approval("ada"))
    with pytest.raises(InvalidOptionError, match=r"'orders.approved' carries Approval, not dict"):
        kind.check({"by": "ada"})


def test_a_signal_type_without_a_class_takes_anything():
    SignalType("go").check({"by": "ada"})


@pytest.mark.parametrize(
    ("name", "validator", "reason"),
    [
        ("checked.false", lambda payload: False, ""),
        ("checked.value_error", lambda payload: int(payload), "invalid literal for int() with base 10: 'tea'"),
        ("checked.django", EmailValidator(), "Enter a valid email address."),
    ],
)
def test_a_validator_refuses_by_false_or_by_an_error_about_the_value(name, validator, reason):
    with pytest.raises(SignalRefusedError) as refused:
        SignalType(name, validator=validator).check("tea")
    assert (refused.value.signal, refused.value.reason) == (name, reason)


@pytest.mark.parametrize("verdict", [True, None])
def test_a_validator_accepts_by_true_or_by_saying_nothing(verdict):
    SignalType(f"checked.{verdict}", validator=lambda payload: verdict).check("tea")


@pytest.mark.parametrize("verdict", ["", "no", 0, 1, []], ids=repr)
def test_a_verdict_that_is_no_boolean_is_neither(verdict):
    kind = SignalType("checked.odd", validator=lambda payload: verdict)
    with pytest.raises(ConfigurationError, match="return True or False"):
        kind.check("tea")


def test_a_bug_in_a_validator_is_not_taken_for_a_refusal():
    with pytest.raises(ZeroDivisionError):
        SignalType("checked.broken", validator=lambda payload: 1 / 0).check("tea")


def test_a_validator_is_a_function():
    with pytest.raises(InvalidOptionError, match="function of the payload"):
        SignalType("checked.number", validator=5)


def test_one_signal_has_one_validator():
    SignalType("checked.twice", validator=EmailValidator())
    with pytest.raises(ConfigurationError, match=r"two validators.*Define it once"):
        SignalType("checked.twice", validator=EmailValidator())


def test_a_module_may_be_imported_again():
    for _ in range(2):
        again = SignalType("checked.again", validator=lambda payload: payload != "tea")
    with pytest.raises(SignalRefusedError):
        again.check("tea")


@pytest.mark.parametrize("name", ["", "a b", "a\n", None], ids=repr)
def test_signal_types_have_plain_names(name):
    with pytest.raises(InvalidOptionError, match="Signal name"):
        SignalType(name)


def test_progress_messages_are_cut_to_their_column(ctx, runtime):
    ctx.progress(1, 2, "x" * 300)
    assert runtime.calls == [("progress", 1, 2, "x" * 255)]


def test_uuids_come_from_the_replayable_numbers(ctx, runtime):
    first = ctx.uuid4()
    assert first.version == 4
    assert Context(Recorder()).uuid4() == first
    assert ctx.uuid4() != first


def test_the_rest_is_the_runtimes(ctx):
    assert (ctx.execution_id, ctx.attempt, ctx.log, ctx.now()) == (uuid.UUID(int=5), 2, "a logger", "a time")


def test_current_step_is_refused_outside_a_body():
    with pytest.raises(NotInWorkflowError, match="only while a step's body runs"):
        current_step()


def test_current_step_is_the_running_one():
    info = StepInfo(execution_id=uuid.UUID(int=5), step_id="charge", attempt=1)
    marker = running_step.set(info)
    try:
        assert current_step() is info
    finally:
        running_step.reset(marker)


def test_the_idempotency_key_names_the_step_and_not_the_attempt():
    def key(execution, step_id, attempt):
        return StepInfo(execution_id=uuid.UUID(int=execution), step_id=step_id, attempt=attempt).idempotency_key

    assert key(5, "charge", 1) == key(5, "charge", 2)
    assert len({key(5, "charge", 1), key(5, "charge#2", 1), key(6, "charge", 1)}) == 3
