"""The error tree: one base to catch, facts in attributes, and a way through pickle."""

import pickle
import re
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_durable import exceptions
from django_durable.exceptions import (
    Cancelled,
    ControlFlow,
    DeadlineExceeded,
    DurableError,
    InvalidOptionError,
    RetryAfter,
    Suspend,
)

ID = UUID(int=7)
EXAMPLES = [
    exceptions.DurableError("text"),
    exceptions.ConfigurationError("text"),
    exceptions.InvalidOptionError("text"),
    exceptions.SignalRefusedError("orders.approved", "too much"),
    exceptions.UnknownWorkflowError("orders.fulfil", 2),
    exceptions.SourceUnavailableError("shop.workflows.fulfil"),
    exceptions.NotInWorkflowError("text"),
    exceptions.CodecError("no", "args[0]"),
    exceptions.PayloadTooLargeError(11, 10),
    exceptions.PayloadErasedError(),
    exceptions.ExecutionNotFoundError(ID),
    exceptions.ExecutionConflict("text"),
    exceptions.ExecutionClosedError(ID, "failed", "order:1"),
    exceptions.BatchRefusedError({}),
    exceptions.DeliveryConflict("text"),
    exceptions.ScheduleNotFoundError("reports.daily"),
    exceptions.ScheduleConflict("text"),
    exceptions.WebhookNotFoundError(ID),
    exceptions.WebhookError("The endpoint answered with status 500.", 500),
    exceptions.TokenError("text"),
    exceptions.InvalidTokenError(),
    exceptions.ExpiredTokenError(ID),
    exceptions.UsedTokenError(ID),
    exceptions.UpdateFailed("add", "shop.NoStock", "none left", "Traceback ..."),
    exceptions.TransactionOpenError("text"),
    exceptions.ResultTimeoutError("text"),
    exceptions.ChildFailed(ID, "failed", "shop.Boom", "text", "Traceback"),
    exceptions.ChildNotEndedError(ID),
    exceptions.LoopLimitError("Loop 'poll' has run 3 times."),
    exceptions.ContinueAsNew(),
    exceptions.ExecutionFailedError(ID, "shop.Boom", "text", "Traceback"),
    exceptions.ExecutionCancelledError(ID, message="enough"),
    exceptions.ExecutionTerminatedError(ID, message="enough"),
    exceptions.ExecutionTimedOutError(ID),
    exceptions.ForcedFailure("text"),
    exceptions.OperationError("text"),
    exceptions.StepFailed("charge", "shop.Boom", "text", "Traceback", 3),
    exceptions.StepTimedOut("charge", "StepTimedOut", "text"),
    exceptions.StepInterrupted("charge", "StepInterrupted", "text"),
    exceptions.NonRetryable("text"),
    exceptions.RetryAfter(1.5, "text"),
    exceptions.NondeterminismError(3, "step 'a'", "step 'b'", "shop.py:7"),
    exceptions.SwallowedControlFlowError("Suspend"),
    exceptions.LeaseLostError("text"),
    exceptions.ControlFlow("text"),
    exceptions.Suspend("text"),
    exceptions.Cancelled("text"),
    exceptions.DeadlineExceeded("text"),
]


def test_every_error_of_the_module_has_an_example_here():
    defined = {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__.startswith("django_durable.")
    }
    assert {type(error) for error in EXAMPLES} == defined


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling_with_their_facts(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.args == error.args


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_drawn_in_the_tree(error):
    assert type(error).__name__ in (exceptions.__doc__ or "")


def test_one_base_catches_every_error_but_no_control_flow():
    for error in EXAMPLES:
        assert isinstance(error, DurableError) != isinstance(error, ControlFlow)


@pytest.mark.parametrize("control_flow", [Suspend, Cancelled, DeadlineExceeded])
def test_control_flow_passes_except_exception(control_flow):
    assert not issubclass(control_flow, Exception)


def test_errors_are_also_what_callers_already_catch():
    assert issubclass(exceptions.ConfigurationError, ImproperlyConfigured)
    assert issubclass(exceptions.InvalidOptionError, ValueError)
    assert issubclass(exceptions.ResultTimeoutError, TimeoutError)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_retry_after_needs_a_time_to_come(seconds):
    with pytest.raises(InvalidOptionError, match="positive"):
        RetryAfter(seconds)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (exceptions.UnknownWorkflowError("a"), r"'a'.*workflows\.py"),
        (exceptions.UnknownWorkflowError("a", 2), "a version 2"),
        (exceptions.PayloadTooLargeError(11, 10), "11 bytes.*limit is 10.*pass its key"),
        (exceptions.ExecutionClosedError(ID, "failed"), "is failed.*orders.$"),
        (exceptions.ExecutionClosedError(ID, "failed", "order:1"), "is failed.*keeps the key 'order:1'.*another one"),
        (exceptions.SignalRefusedError("approved", "too much"), "'approved' was refused by its validator: too much$"),
        (exceptions.SignalRefusedError("approved"), "validator.$"),
        (exceptions.StepFailed("charge", "Boom", "no", attempts=1), "'charge' failed after 1 attempt with Boom: no"),
        (exceptions.StepFailed("charge", "Boom", "no", attempts=2), "after 2 attempts"),
        (exceptions.NondeterminismError(3, "step 'a'", "step 'b'", "s.py:7"), "Position 3.*step 'a'.*step 'b'.*s.py:7"),
        (exceptions.SwallowedControlFlowError("Suspend"), "bare `except:`.*finally"),
        (exceptions.ExecutionFailedError(ID, "Boom", "no"), "failed: Boom: no$"),
        (exceptions.ExecutionCancelledError(ID, message="by ops"), "was cancelled: by ops$"),
        (exceptions.ExecutionFailedError(ID), "failed$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages_tell_the_facts_and_what_to_do(error, told):
    assert re.search(told, str(error))
