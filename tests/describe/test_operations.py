"""The wider language of the context, by its syntax alone: children, events, and functions as branches."""

from django_durable import Context, workflow
from tests.describe.shapes import only_node, outline, shape_of, text


def charge(): ...
def refund(): ...


@workflow("shop.ship")
def ship(ctx): ...


def test_children_are_told_by_the_name_of_their_workflow():
    def flow(ctx, order):
        child = ctx.start_child(ship, order)
        ctx.wait_for_execution(child, timeout=60)
        ctx.call("second", ship, order)

    assert outline(flow) == text(
        """
        workflow child:shop.ship
        waitForExecution execution=child timeout=60
        workflow second target=shop.ship
        """
    )


def test_one_line_calls_have_kinds_of_their_own():
    def flow(ctx):
        if ctx.patched("faster"):
            ctx.emit("orders.paid", {"by": 1})
        ctx.signal_token("orders.approved", expires=60)
        ctx.rollback()
        ctx.continue_as_new(2)

    assert outline(flow) == text(
        """
        patched faster
        if ctx.patched('faster'):
            emit emit:orders.paid payload={'by': 1}
        signalToken signal=orders.approved expires=60
        rollback
        continueAsNew
        """
    )


def test_changes_of_the_state_are_told_and_reading_it_is_not():
    def flow(ctx, total):
        ctx.state.set(phase="began", total=total)
        if ctx.state.get("phase") == "began" and ctx.state["total"]:
            ctx.wait_until(lambda state: state["total"] > 7, timeout=60)
        for name in ctx.state:
            ctx.step(charge, ctx.state[name], dict(ctx.state), compensate=ctx.state.items)
        ctx.state.replace({"phase": "done"})

    assert outline(flow) == text(
        """
        state
        if ctx.state.get('phase') == 'began' and ctx.state['total']:
            waitUntil until condition=lambda state: state['total'] > 7 timeout=60
        for name in ctx.state:
            step charge compensate=ctx.state.items
        state values={'phase': 'done'}
        """
    )


def test_the_branches_of_a_switch_are_those_of_its_dict():
    def flow(ctx, method):
        ctx.switch("payment", method, {"card": lambda: ctx.step(charge), "none": charge}, default=lambda: ctx.now())

    assert outline(flow) == text(
        """
        switch payment value=method:
            card:
                step charge
            none:
                pass
            default:
                now
        """
    )


def test_branches_may_be_functions_that_take_a_context_of_their_own():
    def flow(ctx):
        def by_card(context: Context):
            context.step(charge)

        ctx.parallel("pay", [by_card, lambda ctx: ctx.step(refund), lambda c: c.sleep(1), ctx.start_child(ship)])

    assert outline(flow) == text(
        """
        parallel pay:
            by_card:
                step charge
            2:
                step refund
            3:
                sleep duration=1
            4:
                workflow child:shop.ship
        """
    )


def test_a_race_a_map_and_a_loop_have_their_functions_as_branches():
    def flow(ctx, orders):
        ctx.race({"signal": lambda: ctx.wait_for_signal("paid"), "time": lambda: ctx.sleep(60)})
        ctx.map(lambda order: ctx.step(charge, order), orders)
        ctx.loop("polling", lambda state: ctx.step(refund, state))

    assert outline(flow) == text(
        """
        race:
            signal:
                waitForSignal signal:paid
            time:
                sleep duration=60
        map:
            lambda order: ctx.step(charge, order):
                step charge
        loop polling:
            lambda state: ctx.step(refund, state):
                step refund
        """
    )


def test_waits_on_several_things_and_a_loop_with_its_condition():
    def flow(ctx, child):
        ctx.wait_any({"paid": "orders.paid", "mailed": lambda ctx: ctx.step(charge), "child": child}, timeout=60)
        ctx.wait_all({"a": "a", "b": "b"}, id="both")
        ctx.loop("polling", lambda state: state != "done", lambda ctx, state: ctx.step(refund), initial="new")
        if ctx.should_continue_as_new:
            ctx.continue_as_new(child)

    assert outline(flow) == text(
        """
        race wait_any timeout=60:
            paid:
                pass
            mailed:
                step charge
            child:
                pass
        parallel both awaited={'a': 'a', 'b': 'b'}
        loop polling initial='new':
            lambda state: state != 'done':
                pass
            lambda ctx, state: ctx.step(refund):
                step refund
        if ctx.should_continue_as_new:
            continueAsNew
        """
    )


def test_branches_that_are_computed_are_told_as_text():
    def flow(ctx, branches):
        ctx.parallel(branches)

    node = only_node(flow)
    assert (node.kind, node.branches, node.details) == ("parallel", (), {"branches": "branches"})


def test_a_literal_of_plain_values_is_no_set_of_branches():
    def flow(ctx):
        ctx.map(charge, [1, 2])

    assert [branch.label for branch in only_node(flow).branches] == ["charge"]


def test_every_kind_of_the_context_that_exists_is_in_the_table():
    from django_durable.describe.operations import OPERATIONS, QUIET

    methods = {name for name in dir(Context) if not name.startswith("_")}
    assert methods <= OPERATIONS.keys() | QUIET


def test_kinds_and_details_are_plain_data():
    def flow(ctx):
        ctx.switch("x", 1, {"a": lambda: ctx.step(charge)})

    line = flow.__code__.co_firstlineno + 1
    step = {"kind": "step", "id": "charge", "line": line, "details": {"body": "charge"}, "branches": []}
    assert shape_of(flow).as_dict()["nodes"] == [
        {
            "kind": "switch",
            "id": "x",
            "line": line,
            "details": {"value": "1"},
            "branches": [{"label": "a", "nodes": [step]}],
        }
    ]
