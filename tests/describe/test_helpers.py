"""Functions beside the workflow: those that get the context are read on, and no others."""

from tests.authoring import no_op
from tests.describe.shapes import nodes_of, only_node, outline, shape_of, text


def charge(): ...


def notify(context, text, *, urgently=False):
    if urgently:
        return context.step("ring", no_op, text)
    context.step("mail", no_op, text)


def notify_twice(a, c):
    notify(c, a)
    notify(text=a, context=c)


def countdown(ctx, number):
    ctx.sleep(1)
    if number:
        countdown(ctx, number - 1)


def total(lines):
    return sum(lines)


class Desk:
    def __init__(self, ctx):
        self.ctx = ctx

    def serve(self, ctx):
        ctx.step(charge)


def test_a_helper_is_read_where_it_is_called():
    def flow(ctx):
        notify(ctx, "hello", urgently=True)
        ctx.step(charge)

    assert outline(flow) == text(
        """
        helper notify(ctx, 'hello', urgently=True):
            if urgently:
                step ring body=no_op
                return context.step('ring', no_op, text)
            step mail body=no_op
        step charge
        """
    )


def test_helpers_of_helpers_are_read_whatever_they_call_the_context():
    def flow(durable):
        notify_twice("hello", durable)

    assert [node.id for node in nodes_of(flow, "step")] == ["ring", "mail", "ring", "mail"]
    assert [node.details["code"] for node in nodes_of(flow, "helper")] == [
        "notify_twice('hello', durable)",
        "notify(c, a)",
        "notify(text=a, context=c)",
    ]


def test_a_helper_that_calls_itself_is_read_once():
    def flow(ctx):
        countdown(ctx, 3)

    assert outline(flow) == text(
        """
        helper countdown(ctx, 3):
            sleep duration=1
            if number:
                helper countdown(ctx, number - 1)
        """
    )


def test_a_workflow_that_calls_itself_is_read_once():
    def flow(ctx):
        ctx.step(charge)
        flow(ctx)

    assert [node.kind for node in nodes_of(flow)] == ["step", "helper"]


def test_a_helper_without_the_context_is_not_read():
    def flow(ctx, lines):
        return total(lines)

    assert [node.kind for node in nodes_of(flow)] == ["return"]


def test_a_function_inside_the_workflow_is_read_where_it_is_called():
    def flow(ctx):
        def pay(name):
            return ctx.step(name, charge)

        later = lambda: ctx.sleep(5)  # noqa: E731
        pay("first")
        later()

    assert outline(flow) == text(
        """
        helper pay('first'):
            step id=name body=charge
            return ctx.step(name, charge)
        helper later():
            sleep duration=5
        """
    )


def test_a_function_inside_that_nobody_calls_leaves_no_node():
    def flow(ctx):
        def never():
            ctx.step(charge)

    assert shape_of(flow).nodes == ()


def test_a_function_that_is_handed_on_may_be_called():
    def flow(ctx, run):
        run(lambda: ctx.step(charge))

    node = only_node(flow)
    assert (node.kind, node.details) == ("unknown", {"code": "lambda: ctx.step(charge)"})
    assert [inner.id for inner in node.branches[0].nodes] == ["charge"]


def test_where_the_context_goes_out_of_sight_is_unknown():
    def flow(ctx, other):
        Desk(ctx).serve(ctx)
        other.helper(ctx)
        mine = ctx
        pay = ctx.step
        ctx.something_new(1)
        total([ctx])
        return mine, pay

    assert [node.details["code"] for node in nodes_of(flow, "unknown")] == [
        "Desk(ctx)",
        "other.helper(ctx)",
        "mine = ctx",
        "ctx.step",
        "ctx.something_new(1)",
        "total([ctx])",
    ]


def test_a_function_of_another_file_is_unknown():
    def flow(ctx):
        no_op(ctx)

    assert only_node(flow).details == {"code": "no_op(ctx)"}


def test_a_builtin_function_cannot_make_durable_calls():
    def flow(ctx):
        assert isinstance(ctx, object)
        print(ctx, id(ctx))

    assert shape_of(flow).nodes == ()
