"""What other people's code may lean on: the names, what importing them costs, and errors that explain themselves."""

import inspect
import os
import subprocess
import sys

import pytest

import django_durable
from django_durable import client, exceptions, testing

AUTHORING = [
    "Cancelled",
    "Case",
    "CodecError",
    "ConfigurationError",
    "Context",
    "DeadlineExceeded",
    "DurableError",
    "ExecutionCancelledError",
    "ExecutionClosedError",
    "ExecutionConflict",
    "ExecutionFailedError",
    "ExecutionNotFoundError",
    "ExecutionTerminatedError",
    "ExecutionTimedOutError",
    "ExpiredTokenError",
    "InvalidOptionError",
    "InvalidTokenError",
    "NonRetryable",
    "NotInWorkflowError",
    "OperationError",
    "PayloadTooLargeError",
    "ResultTimeoutError",
    "Retry",
    "RetryAfter",
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
    "UsedTokenError",
    "current_step",
    "register_type",
    "registry",
    "step",
    "workflow",
]
CLIENT = [
    "cancel",
    "find",
    "get",
    "get_by_token",
    "get_workflow",
    "inspect",
    "resolve_compensation",
    "result",
    "retry_compensation",
    "signal",
    "skip_compensation",
    "signal_by_token",
    "signal_with_start",
    "start",
    "start_and_wait",
    "terminate",
]
CONTEXT = [
    "attempt",
    "deprecate_patch",
    "execution_id",
    "gather",
    "log",
    "map",
    "note",
    "now",
    "parallel",
    "patched",
    "progress",
    "random",
    "rollback",
    "signal_token",
    "sleep",
    "sleep_until",
    "step",
    "switch",
    "uuid4",
    "wait_for_signal",
]
TESTING = ["DurableKit", "DurableTestMixin", "NotIdleError", "ReplayReport", "export_history", "replay"]
ERRORS = [
    error for error in vars(exceptions).values() if inspect.isclass(error) and error.__module__ == exceptions.__name__
]
INTERNAL = {"ControlFlow", "LeaseLostError", "NondeterminismError", "Suspend", "SwallowedControlFlowError"}


def test_the_names_for_workflow_code_are_these():
    assert django_durable.__all__ == AUTHORING
    assert [name for name in AUTHORING if not hasattr(django_durable, name)] == []


def test_the_calls_of_the_client_are_these():
    own = {
        name
        for name, value in vars(client).items()
        if inspect.isfunction(value) and value.__module__ == client.__name__
    }
    assert sorted(name for name in own if not name.startswith("_")) == sorted([*CLIENT, "refuse_transaction"])


def test_what_a_workflow_may_do_is_this():
    assert sorted(name for name in vars(django_durable.Context) if not name.startswith("_")) == CONTEXT


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
