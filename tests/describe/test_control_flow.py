"""Which statements and expressions leave which nodes: all branches, in the order in which they would run."""

from contextlib import nullcontext

from tests.describe.shapes import nodes_of, outline, shape_of, text


def charge(): ...
def refund(): ...
def ship(): ...


def test_calls_come_in_the_order_of_the_source_with_their_lines():
    def flow(ctx):
        ctx.step(charge)
        ctx.sleep(5)

    first = flow.__code__.co_firstlineno
    assert [(node.kind, node.id, node.line) for node in shape_of(flow).nodes] == [
        ("step", "charge", first + 1),
        ("sleep", "sleep", first + 2),
    ]


def test_all_branches_of_an_if_are_read():
    def flow(ctx, amount):
        if amount > 100:
            ctx.step(charge)
        elif amount > 10:
            pass
        elif amount:
            ctx.step(refund)
        else:
            ctx.step(ship)

    assert outline(flow) == text(
        """
        if amount > 100:
            step charge
        elif amount > 10:
            pass
        elif amount:
            step refund
        else:
            step ship
        """
    )


def test_a_call_in_a_later_condition_is_made_only_if_the_first_does_not_hold():
    def flow(ctx, amount):
        if amount:
            ctx.step(charge)
        elif ctx.step(refund):
            ctx.step(ship)

    assert outline(flow) == text(
        """
        if amount:
            step charge
        else:
            step refund
            if ctx.step(refund):
                step ship
        """
    )


def test_an_else_of_one_durable_call_beside_an_if_keeps_the_call():
    def flow(ctx, amount):
        if amount:
            ctx.step(charge)
        else:
            if amount == 3:
                print(amount)
            ctx.step(refund)

    assert outline(flow) == text(
        """
        if amount:
            step charge
        else:
            step refund
        """
    )


def test_arguments_come_before_the_call_they_are_given_to():
    def flow(ctx):
        return ctx.step(ship, ctx.step(charge), now=ctx.now())

    assert [node.kind for node in nodes_of(flow)] == ["step", "now", "step", "return"]
    assert [node.id for node in nodes_of(flow, "step")] == ["charge", "ship"]


def test_expressions_that_choose_are_branches():
    def flow(ctx, is_paid, is_here):
        ctx.step(charge) if is_paid else ctx.step(refund)
        is_paid and is_here and ctx.step(ship)
        is_paid or ctx.step(refund)

    assert outline(flow) == text(
        """
        if is_paid:
            step charge
        else:
            step refund
        if is_paid and is_here:
            step ship
        if not (is_paid):
            step refund
        """
    )


def test_loops_and_comprehensions_are_told_with_what_they_go_over():
    def flow(ctx, lines):
        for line in ctx.step(charge):
            ctx.step(ship, line)
        while ctx.wait_for_signal("more", timeout=5):
            ctx.step(refund)
        return [ctx.step(ship, line) for line in lines if line]

    assert outline(flow) == text(
        """
        step charge
        for line in ctx.step(charge):
            step ship
        while ctx.wait_for_signal('more', timeout=5):
            waitForSignal signal:more timeout=5
            step refund
        for line in lines if line:
            step ship
        return [ctx.step(ship, line) for line in lines if line]
        """
    )


def test_a_loop_keeps_its_ways_out_and_its_else():
    def flow(ctx, lines):
        for line in lines:
            if not line:
                continue
            if ctx.step(charge, line):
                break
        else:
            ctx.step(refund)

    assert outline(flow) == text(
        """
        for line in lines:
            if not line:
                continue
            step charge
            if ctx.step(charge, line):
                break
        else:
            step refund
        """
    )


def test_what_cannot_matter_to_a_durable_call_leaves_no_node():
    def flow(ctx, lines):
        total = 0
        for line in lines:
            if line is None:
                continue
            total += line
        with nullcontext():
            total = abs(total) if total else 1
        ctx.log.info("total %s", total)
        ctx.progress(1, ctx.random().randint(1, 3), str(ctx.uuid4()))
        print(ctx.execution_id, ctx.attempt)

    assert shape_of(flow).nodes == ()


def test_every_part_of_a_try_is_a_branch():
    def flow(ctx):
        try:
            ctx.step(charge)
        except (KeyError, ValueError) as error:
            raise RuntimeError from error
        except OSError:
            ctx.step(refund)
        else:
            ctx.step(ship)
        finally:
            ctx.note("done")

    assert outline(flow) == text(
        """
        try:
            step charge
        except (KeyError, ValueError) as error:
            raise RuntimeError
        except OSError:
            step refund
        else:
            step ship
        finally:
            note text='done'
        """
    )


def test_every_case_of_a_match_is_a_branch():
    def flow(ctx, answer):
        match answer:
            case {"by": who} if who:
                ctx.step(charge)
            case None | False:
                return "nobody"
            case _:
                ctx.step(refund)

    assert outline(flow) == text(
        """
        match answer:
            case {'by': who} if who:
                step charge
            case None | False:
                return 'nobody'
            case _:
                step refund
        """
    )


def test_a_with_statement_shows_what_is_inside():
    def flow(ctx):
        with nullcontext(ctx.step(charge)) as ticket:
            ctx.step(ship, ticket)

    assert outline(flow) == text(
        """
        step charge
        with nullcontext(ctx.step(charge)) as ticket:
            step ship
        """
    )
