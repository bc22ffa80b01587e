"""@workflow and @step: the forms they take, what they refuse, and the registry behind them."""

import inspect
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta

import pytest

from django_durable import Retry, definitions, step, workflow
from django_durable.definitions import StepDefinition, WorkflowDefinition, registry
from django_durable.exceptions import ConfigurationError, InvalidOptionError, UnknownWorkflowError
from django_durable.retry import NO_RETRY

BAD_TIMEOUTS = [True, "5", -1, 0, timedelta(0), float("nan"), float("inf")]


# -- @step ---------------------------------------------------------------------------------------------


def double(number):
    return 2 * number


async def fetch(number):
    return number


@pytest.mark.parametrize("decorate", [step, step(), step(retry=Retry(max_attempts=2))], ids=["bare", "()", "(...)"])
def test_a_step_stays_a_function_that_tests_call(decorate):
    assert decorate(double)(4) == 8


def test_a_bare_step_is_tried_once_without_a_timeout():
    plain = step(double)
    assert (plain.name, plain.retry, plain.timeout_seconds) == ("double", NO_RETRY, None)
    assert not (plain.atomic or plain.at_most_once or plain.raises)


def test_a_step_keeps_the_options_it_was_given():
    retry = Retry(max_attempts=2)
    made = step(name="twice", retry=retry, timeout=timedelta(minutes=1), atomic=True, raises=(KeyError,))(double)
    assert (made.name, made.retry, made.timeout_seconds) == ("twice", retry, 60.0)
    assert (made.atomic, made.raises) == (True, (KeyError,))


def test_step_definitions_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        step(double).name = "other"


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS, ids=repr)
def test_step_timeouts_are_positive_durations(timeout):
    with pytest.raises(InvalidOptionError, match="timeout="):
        step(timeout=timeout)(double)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"retry": 3}, "give a Retry"),
        ({"retry": None}, "give a Retry"),
        ({"raises": ValueError}, "tuple of exception classes"),
        ({"raises": (KeyboardInterrupt,)}, "tuple of exception classes"),
        ({"raises": ("ValueError",)}, "tuple of exception classes"),
        ({"at_most_once": True, "retry": Retry(max_attempts=2)}, "at_most_once"),
        ({"at_most_once": True, "atomic": True}, "at_most_once"),
        ({"name": "__mine"}, "reserved"),
        ({"name": "rollback:x"}, "reserved"),
        ({"name": "two words"}, "Step id"),
    ],
    ids=repr,
)
def test_bad_step_options_are_refused_where_they_are_given(options, told):
    with pytest.raises(InvalidOptionError, match=told):
        step(**options)(double)


def test_an_atomic_step_cannot_be_async():
    with pytest.raises(InvalidOptionError, match="plain function"):
        step(atomic=True)(fetch)


def test_an_async_step_is_accepted():
    assert isinstance(step(fetch), StepDefinition)


def test_a_lambda_needs_a_name():
    with pytest.raises(InvalidOptionError, match="Step id"):
        step(lambda: 1)
    assert step(name="one")(lambda: 1)() == 1


# -- @workflow -----------------------------------------------------------------------------------------


def test_a_workflow_called_directly_is_the_plain_function():
    @workflow("flow.fulfil")
    def fulfil(ctx, order, *, fast=False):
        return ctx, order, fast

    assert fulfil("a context", 7, fast=True) == ("a context", 7, True)


def test_a_workflow_keeps_its_options():
    @workflow("flow.fulfil", version=3, queue="slow", priority="high", timeout=timedelta(days=1))
    def fulfil(ctx):
        pass

    assert (fulfil.name, fulfil.version, fulfil.queue) == ("flow.fulfil", 3, "slow")
    assert (fulfil.priority, fulfil.timeout_seconds) == ("high", 86_400.0)


def test_the_signature_leaves_the_context_out():
    @workflow("flow.fulfil")
    def fulfil(ctx, order, fast=False):
        pass

    assert list(fulfil.signature.parameters) == ["order", "fast"]


@pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "x" * 201, None, 3], ids=repr)
def test_workflow_names_are_plain(name):
    with pytest.raises(InvalidOptionError, match="Workflow name"):
        workflow(name)


@pytest.mark.parametrize(
    "options",
    [
        {"version": 0},
        {"version": -1},
        {"version": True},
        {"version": "1"},
        {"version": 2**31},
        {"queue": "a b"},
        {"priority": "urgent"},
        {"priority": 1},
        *({"timeout": timeout} for timeout in BAD_TIMEOUTS),
    ],
    ids=repr,
)
def test_bad_workflow_options_are_refused_where_they_are_given(options):
    with pytest.raises(InvalidOptionError):
        workflow("a", **options)


async def async_generator(ctx):
    yield


def generator(ctx):
    yield


def without_context():
    pass


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (generator, "no generator"),
        (async_generator, "no generator"),
        (without_context, "context as its first argument"),
        (lambda *, ctx: None, "context as its first argument"),
    ],
)
def test_functions_that_cannot_be_replayed_are_refused(fn, told):
    with pytest.raises(ConfigurationError, match=told):
        workflow("a")(fn)
    with pytest.raises(UnknownWorkflowError):
        registry.find("a")


# -- the registry --------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused_and_both_places_are_told():
    @workflow("flow.fulfil")
    def first(ctx):
        pass

    with pytest.raises(ConfigurationError, match=r"first.*second.*raise its version="):

        @workflow("flow.fulfil")
        def second(ctx):
            pass

    assert registry.find("flow.fulfil") is first


def test_importing_a_module_again_is_no_duplicate():
    def fulfil(ctx):
        pass

    workflow("flow.fulfil")(fulfil)
    again = workflow("flow.fulfil")(fulfil)
    assert registry.find("flow.fulfil") is again


def test_versions_live_side_by_side_and_the_newest_starts():
    def old(ctx):
        pass

    def new(ctx):
        pass

    second, first = workflow("a", version=2)(new), workflow("a", version=1)(old)
    assert registry.find("a") is second
    assert registry.find("a", 1) is first
    assert registry.knows("a", 2)
    assert not registry.knows("a", 3)


@pytest.mark.parametrize("wanted", [("b",), ("a", 9), ("b", 1)])
def test_what_is_not_registered_is_unknown(wanted):
    workflow("a")(generator_free)
    with pytest.raises(UnknownWorkflowError):
        registry.find(*wanted)


def generator_free(ctx):
    pass


def test_an_isolated_block_forgets_what_was_registered_inside():
    with registry.isolated():
        inside = workflow("a")(generator_free)
        assert inside in list(registry)
    assert inside not in list(registry)


def test_workflows_py_of_installed_apps_is_found():
    assert isinstance(registry.find("orders.fulfil"), WorkflowDefinition)
    assert inspect.getmodule(registry.find("orders.fulfil").fn).__name__ == "testproject.shop.workflows.orders"


# -- using() -------------------------------------------------------------------------------------------


def test_using_makes_a_copy_with_options():
    plain = workflow("a", timeout=60)(generator_free)
    at = datetime(2030, 1, 1, tzinfo=UTC)
    bound = plain.using(key="k", queue="q", priority="low", at=at, timeout=timedelta(hours=1), labels={"shop": "b"})
    options = bound.options
    assert bound.definition is plain
    assert (options.key, options.queue, options.priority, options.at) == ("k", "q", "low", at)
    assert (options.timeout_seconds, options.labels) == (3600.0, {"shop": "b"})
    assert plain.timeout_seconds == 60


def test_labels_are_copied():
    labels = {"shop": "b"}
    bound = workflow("a")(generator_free).using(labels=labels)
    labels["shop"] = "other"
    assert bound.options.labels == {"shop": "b"}


def test_starting_before_django_is_set_up_says_so(monkeypatch):
    monkeypatch.setattr(definitions, "_starter", [])
    with pytest.raises(ConfigurationError, match="INSTALLED_APPS"):
        workflow("a")(generator_free).start()
