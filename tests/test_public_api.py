"""What other people's code may lean on: the names, what importing them costs, and errors that explain themselves."""

import inspect
import os
import subprocess
import sys

import pytest

import django_durable
from django_durable import client, exceptions, testing

AUTHORING = [
    "FOREVER",
    "AsyncContext",
    "BatchRefusedError",
    "Cancelled",
    "Case",
    "Child",
    "ChildFailed",
    "ChildNotEndedError",
    "Coalesce",
    "CodecError",
    "ConfigurationError",
    "Context",
    "Cron",
    "DeadlineExceeded",
    "DeliveryConflict",
    "DurableError",
    "EventInfo",
    "EventType",
    "Excluded",
    "ExecutionCancelledError",
    "ExecutionClosedError",
    "ExecutionConflict",
    "ExecutionFailedError",
    "ExecutionNotFoundError",
    "ExecutionTerminatedError",
    "ExecutionTimedOutError",
    "ExpiredTokenError",
    "Flow",
    "FlowData",
    "ForcedFailure",
    "Interval",
    "InvalidOptionError",
    "InvalidTokenError",
    "Limit",
    "LoopLimitError",
    "NonRetryable",
    "NotInWorkflowError",
    "OperationError",
    "Part",
    "PayloadErasedError",
    "PayloadTooLargeError",
    "Rate",
    "ResultTimeoutError",
    "Retention",
    "Retry",
    "RetryAfter",
    "ScheduleConflict",
    "ScheduleNotFoundError",
    "ScheduleSpec",
    "Settled",
    "SignalRefusedError",
    "SignalType",
    "SourceUnavailableError",
    "StepFailed",
    "StepInfo",
    "StepInterrupted",
    "StepTimedOut",
    "TokenError",
    "TransactionOpenError",
    "UnknownWorkflowError",
    "UpdateFailed",
    "UsedTokenError",
    "WebhookNotFoundError",
    "current_step",
    "on_event",
    "register_type",
    "registry",
    "step",
    "workflow",
]
CLIENT = [
    "add_webhook",
    "backfill_schedule",
    "bulk",
    "canary",
    "cancel",
    "change_deadline",
    "count",
    "delete",
    "edit_input",
    "ensure_schedule",
    "erase",
    "executions_for",
    "family",
    "feed",
    "feed_position",
    "find",
    "follow",
    "force_complete",
    "force_fail",
    "fork",
    "get",
    "get_by_token",
    "get_schedule",
    "get_workflow",
    "inspect",
    "latest",
    "limits",
    "logs",
    "page",
    "patch_step",
    "pause",
    "pause_schedule",
    "preview_schedule",
    "prune_logs",
    "query",
    "reassign",
    "remove_schedule",
    "remove_webhook",
    "resolve_compensation",
    "restart",
    "result",
    "resume",
    "resume_schedule",
    "retry",
    "retry_compensation",
    "retry_delivery",
    "retry_webhook",
    "rotate_webhook_secret",
    "schedule",
    "schedule_ticks",
    "schedules",
    "send_update",
    "signal",
    "signal_by_token",
    "signal_with_start",
    "skip_compensation",
    "skip_step",
    "start",
    "start_and_wait",
    "start_many",
    "sync_schedules",
    "terminate",
    "test_webhook",
    "trigger_schedule",
    "update",
    "update_result",
    "update_schedule",
    "update_webhook",
    "verbs",
    "wake_now",
    "webhooks",
]
CONTEXT = [
    "attempt",
    "call",
    "continue_as_new",
    "deprecate_patch",
    "emit",
    "execution_id",
    "gather",
    "log",
    "loop",
    "map",
    "note",
    "now",
    "parallel",
    "patched",
    "progress",
    "race",
    "random",
    "rollback",
    "should_continue_as_new",
    "signal_token",
    "sleep",
    "sleep_until",
    "start_child",
    "state",
    "step",
    "switch",
    "uuid4",
    "wait_all",
    "wait_any",
    "wait_for_execution",
    "wait_for_signal",
    "wait_until",
]
TESTING = ["DurableKit", "DurableTestMixin", "NotIdleError", "ReplayReport", "export_history", "replay"]
ERRORS = [
    error for error in vars(exceptions).values() if inspect.isclass(error) and error.__module__ == exceptions.__name__
]
INTERNAL = {
    "ControlFlow",
    "LeaseLostError",
    "NondeterminismError",
    "Suspend",
    "SwallowedControlFlowError",
    "WebhookError",
}


def test_the_names_for_workflow_code_are_these():
    assert django_durable.__all__ == AUTHORING
    assert [name for name in AUTHORING if not hasattr(django_durable, name)] == []


def test_the_calls_of_the_client_are_these():
    own = {
        name
        for name, value in vars(client).items()
        if inspect.isfunction(value) and value.__module__.startswith(client.__name__)
    }
    assert sorted(name for name in own if not name.startswith("_")) == sorted([*CLIENT, "refuse_transaction"])


def test_what_a_workflow_may_do_is_this():
    assert [name for name in dir(django_durable.Context) if not name.startswith("_")] == CONTEXT


def test_the_names_of_the_test_kit_are_these():
    assert testing.__all__ == TESTING


@pytest.mark.parametrize("name", AUTHORING)
def test_every_name_is_explained(name):
    assert inspect.getdoc(getattr(django_durable, name))


@pytest.mark.parametrize("name", [*CLIENT])
def test_every_call_of_the_client_is_explained(name):
    assert inspect.getdoc(getattr(client, name))


def test_every_error_that_users_meet_can_be_imported_from_the_top():
    assert {error.__name__ for error in ERRORS} - INTERNAL - set(AUTHORING) == set()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_explains_itself_in_its_own_words(error):
    assert error.__doc__
    assert error.__doc__ not in {base.__doc__ for base in error.__bases__}


def python(code):
    """Run code where Django has no settings."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_it_needs_no_settings_and_brings_no_models_no_celery_and_no_engine():
    loaded = python(
        f"import sys, django_durable; {'; '.join(f'django_durable.{name}' for name in AUTHORING)}; print(*sys.modules)"
    )
    unwanted = ("celery", "kombu", "croniter", "rest_framework", "pydantic", "pytest")
    assert [name for name in loaded if name.partition(".")[0] in unwanted] == []
    ours = ("models", "engine", "client", "tasks", "admin", "testing")
    assert [name for name in loaded if name.startswith(tuple(f"django_durable.{part}" for part in ours))] == []


def test_workflows_are_defined_and_called_without_settings():
    code = """
from django_durable import step, workflow

@step
def double(number): return 2 * number

@workflow("flow")
def flow(ctx, number): return double(number)

print(flow(None, 4))
"""
    assert python(code) == ["8"]


def test_the_version_is_one():
    assert django_durable.__version__.split(".")[0].isdigit()
