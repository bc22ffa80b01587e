"""What names mean: which of them are the context, which are known from outside, and which ids follow from that."""

import functools
from types import SimpleNamespace

import pytest

from django_durable import SignalType, step
from tests import authoring
from tests.authoring import no_op as renamed
from tests.describe.shapes import nodes_of, only_node, shape_of

STEP_ID = "constant"
approved = SignalType("orders.approved")
half = functools.partial(renamed, 1)
services = SimpleNamespace(charge=renamed)


@step(name="charge-card")
def charge(): ...


def plain(): ...


def fake_context():
    return SimpleNamespace(step=lambda *args: None)


# -- ids of steps --------------------------------------------------------------------------------------


def by_definition(ctx):
    ctx.step(charge)


def by_function(ctx):
    ctx.step(plain)


def by_function_of_another_name(ctx):
    ctx.step(renamed)


def by_function_of_a_module(ctx):
    ctx.step(authoring.no_op)


def by_partial(ctx):
    ctx.step(half)


def by_local_function(ctx):
    def body(): ...

    ctx.step(body)


def by_explicit_id(ctx):
    ctx.step("explicit", plain)


def by_constant(ctx):
    ctx.step(STEP_ID, plain)


@pytest.mark.parametrize(
    ("flow", "step_id"),
    [
        (by_definition, "charge-card"),
        (by_function, "plain"),
        (by_function_of_another_name, "no_op"),
        (by_function_of_a_module, "no_op"),
        (by_partial, "no_op"),
        (by_local_function, "body"),
        (by_explicit_id, "explicit"),
        (by_constant, "constant"),
    ],
)
def test_the_id_of_a_step_is_the_one_that_the_engine_would_record(flow, step_id):
    assert only_node(flow).id == step_id


def computed_id(ctx):
    for number in range(3):
        ctx.step(f"charge-{number}", plain)


def id_from_outside(ctx, name):
    ctx.step(name, plain)


def computed_body(ctx, body):
    ctx.step(body)


def attribute(ctx):
    ctx.step(services.charge)


def anonymous(ctx):
    ctx.step(lambda: 1)


@pytest.mark.parametrize(
    ("flow", "details"),
    [
        (computed_id, {"id": "f'charge-{number}'", "body": "plain"}),
        (id_from_outside, {"id": "name", "body": "plain"}),
        (computed_body, {"body": "body"}),
        (attribute, {"body": "services.charge"}),
        (anonymous, {"body": "lambda: 1"}),
    ],
)
def test_an_id_that_only_a_run_can_tell_is_none_and_its_source_is_told(flow, details):
    (node,) = nodes_of(flow, "step")
    assert (node.id, node.details) == (None, details)


@pytest.mark.django_db
def test_the_ids_are_those_of_a_recorded_history(durable):
    from django_durable import workflow

    @workflow("recorded")
    def flow(ctx):
        ctx.step(charge)
        ctx.step(renamed)
        ctx.step(half)
        ctx.step("explicit", plain)
        ctx.note("here")
        ctx.now()
        ctx.sleep(0)
        ctx.wait_for_signal(approved, timeout=0)

    execution = flow.start()
    durable.run(execution)
    recorded = [record.step_id.partition("#")[0] for record in durable.inspect(execution).history]
    assert [node.id for node in flow.describe().nodes] == recorded


# -- signals -------------------------------------------------------------------------------------------


def test_a_signal_is_told_by_its_name_with_its_timeout_as_text():
    def flow(ctx, days):
        ctx.wait_for_signal(approved, timeout=days * 24 * 3600, default="nobody")

    node = only_node(flow)
    assert (node.kind, node.id) == ("waitForSignal", "signal:orders.approved")
    assert node.details == {"signal": "orders.approved", "timeout": "days * 24 * 3600", "default": "'nobody'"}


def test_a_signal_may_be_a_text():
    def flow(ctx):
        ctx.wait_for_signal("orders.paid")

    assert only_node(flow).details == {"signal": "orders.paid"}


def test_a_signal_that_only_a_run_can_tell_has_no_id():
    def flow(ctx, order):
        ctx.wait_for_signal(f"paid-{order}")

    node = only_node(flow)
    assert (node.id, node.details) == (None, {"signal": "f'paid-{order}'"})


# -- the context, and what is only called like it ------------------------------------------------------


def test_the_context_is_the_first_argument_whatever_its_name():
    def flow(durable, ctx):
        durable.step(plain)
        ctx.step(charge)

    assert [node.id for node in nodes_of(flow)] == ["plain"]


def test_an_attribute_called_ctx_is_not_the_context():
    def flow(ctx, other):
        other.ctx.step(plain)
        ctx.step(charge)

    assert [node.id for node in nodes_of(flow)] == ["charge-card"]


def test_a_parameter_called_ctx_hides_the_context():
    def flow(ctx, others):
        def inner(ctx):
            ctx.step(plain)

        inner(others)
        sorted(others, key=lambda ctx: ctx.step(plain))
        [ctx.step(plain) for ctx in others]

    assert shape_of(flow).nodes == ()


def test_from_where_its_name_is_given_to_something_else_it_is_unknown():
    def flow(ctx):
        ctx.step(charge)
        ctx = fake_context()
        ctx.step(plain)

    assert [(node.kind, node.id) for node in nodes_of(flow)] == [("step", "charge-card"), ("unknown", None)]
    assert nodes_of(flow, "unknown")[0].details == {"code": "ctx = fake_context()"}


def test_a_local_name_hides_the_step_outside():
    def flow(ctx, charge):
        ctx.step(charge)

    assert only_node(flow).id is None


def test_a_name_that_is_bound_later_in_the_function_is_local_everywhere():
    def flow(ctx):
        ctx.step(plain)  # noqa: F823
        for plain in (1, 2):  # noqa: B007
            pass

    assert only_node(flow).id is None


def test_the_compensation_is_told_by_its_name():
    def flow(ctx):
        ctx.step(plain, compensate=charge)

    assert only_node(flow).details == {"body": "plain", "compensate": "charge-card"}
