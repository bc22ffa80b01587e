"""The flowchart: its arrows, and that no text of the source becomes part of it."""

import re

from tests.describe.shapes import shape_of, text

BOX = re.compile(r'    (n\d+)(?:\["(.*)"\]|\(\["(.*)"\]\)|\{"(.*)"\}|\{\{"(.*)"\}\}|\[\["(.*)"\]\])')
ARROW = re.compile(r'    (n\d+) (-->|-\.->)(?:\|"(.*)"\|)? (n\d+)')
ESCAPED = re.compile(r"(?:[\w _.,:'()+\-*/=!?…]|#\d+;)*")


def charge(): ...
def refund(): ...
def ship(): ...


def helper(ctx, amount):
    if amount:
        return ctx.step(charge)
    ctx.step(refund)


def arrows(fn):
    """The chart as (from, label, to), by the texts of the boxes."""
    first, *lines = shape_of(fn).mermaid().splitlines()
    assert first == "flowchart TD"
    boxes, found = {}, []
    for line in lines:
        if box := BOX.fullmatch(line):
            boxes[box[1]] = next(label for label in box.groups()[1:] if label is not None)
        else:
            start, _, label, end = ARROW.fullmatch(line).groups()
            found.append((boxes[start], label, boxes[end]))
    assert all(ESCAPED.fullmatch(label) for label in boxes.values())
    return found


def test_calls_follow_each_other_from_the_name_to_the_end():
    def flow(ctx):
        ctx.step(charge)
        ctx.step(ship)

    assert shape_of(flow).mermaid() == text(
        """
        flowchart TD
            n1(["flow"])
            n2["step charge"]
            n1 --> n2
            n3["step ship"]
            n2 --> n3
            n4(["end"])
            n3 --> n4
        """
    )


def test_the_branches_of_an_if_meet_again_unless_they_leave():
    def flow(ctx, is_paid):
        if is_paid:
            ctx.step(charge)
        else:
            return ctx.step(refund)
        ctx.step(ship)

    assert arrows(flow) == [
        ("flow", None, "if"),
        ("if", "is_paid", "step charge"),
        ("if", "else", "step refund"),
        ("step refund", None, "return ctx.step(refund)"),
        ("step charge", None, "step ship"),
        ("step ship", None, "end"),
    ]


def test_an_if_without_else_can_be_passed():
    def flow(ctx, is_paid):
        if is_paid:
            ctx.step(charge)

    assert arrows(flow)[-2:] == [("step charge", None, "end"), ("if", "else", "end")]


def test_a_match_without_a_case_for_all_can_be_passed():
    def flow(ctx, answer):
        match answer:
            case 1:
                ctx.step(charge)

    assert ("match answer", "else", "end") in arrows(flow)


def test_a_match_with_a_case_for_all_cannot():
    def flow(ctx, answer):
        match answer:
            case 1:
                ctx.step(charge)
            case _:
                ctx.step(refund)

    assert arrows(flow)[-2:] == [("step charge", None, "end"), ("step refund", None, "end")]


def test_a_loop_leads_back_and_break_leads_out():
    def flow(ctx, lines):
        for line in lines:
            if line == 1:
                continue
            if line == 2:
                break
            ctx.step(charge)
        ctx.step(ship)

    assert arrows(flow) == [
        ("flow", None, "for"),
        ("for", "for line in lines", "if"),
        ("if", "line == 1", "for"),
        ("if", "else", "if"),
        ("if", "else", "step charge"),
        ("step charge", None, "for"),
        ("for", "done", "step ship"),
        ("if", "line == 2", "step ship"),
        ("step ship", None, "end"),
    ]


def test_an_endless_loop_is_left_by_break_only():
    def flow(ctx):
        while True:
            if ctx.wait_for_signal("stop"):
                break

    assert [arrow for arrow in arrows(flow) if arrow[2] == "end"] == [("if", "ctx.wait_for_signal('stop')", "end")]


def test_handlers_begin_at_the_try_and_else_after_its_body():
    def flow(ctx):
        try:
            ctx.step(charge)
        except KeyError:
            ctx.step(refund)
        else:
            ctx.step(ship)
        finally:
            ctx.note("done")

    note = "note text='done'"
    assert arrows(flow) == [
        ("flow", None, "try"),
        ("try", None, "step charge"),
        ("try", "except KeyError", "step refund"),
        ("step charge", None, "step ship"),
        ("step ship", None, note),
        ("step refund", None, note),
        (note, None, "end"),
    ]


def test_a_finally_that_is_reached_only_on_the_way_out_is_drawn():
    def flow(ctx):
        try:
            return ctx.step(charge)
        finally:
            ctx.step(refund)

    assert ("try", "finally", "step refund") in arrows(flow)


def test_a_return_in_a_helper_goes_on_behind_it():
    def flow(ctx, amount):
        helper(ctx, amount)
        ctx.step(ship)

    assert arrows(flow) == [
        ("flow", None, "helper helper(ctx, amount)"),
        ("helper helper(ctx, amount)", None, "if"),
        ("if", "amount", "step charge"),
        ("if", "else", "step refund"),
        ("step refund", None, "step ship"),
        ("step charge", None, "step ship"),
        ("step ship", None, "end"),
    ]


def test_parallel_branches_begin_together():
    def flow(ctx):
        ctx.parallel("both", {"a": lambda: ctx.step(charge), "b": lambda: ctx.step(ship)})

    assert arrows(flow) == [
        ("flow", None, "parallel both"),
        ("parallel both", "a", "step charge"),
        ("parallel both", "b", "step ship"),
        ("step charge", None, "end"),
        ("step ship", None, "end"),
    ]


def test_what_may_be_called_may_be_passed():
    def flow(ctx, run):
        run(lambda: ctx.step(charge))

    code = "unknown lambda: ctx.step(charge)"
    assert arrows(flow) == [
        ("flow", None, code),
        (code, "lambda", "step charge"),
        (code, None, "end"),
        ("step charge", None, "end"),
    ]


def test_nothing_is_drawn_behind_the_end():
    def flow(ctx):
        ctx.continue_as_new(1)
        ctx.step(charge)

    assert arrows(flow) == [("flow", None, "continueAsNew")]


def test_no_text_can_become_part_of_the_chart():
    def flow(ctx, answers):
        ctx.note('"]; click n1 "javascript:alert(1)" %%{init: {}}%% <b>`x`</b> # \n é')
        if answers['"| n1']:
            ctx.step(charge)

    chart = shape_of(flow).mermaid()
    assert "#34;#93;#59; click n1 #34;javascript:alert(1)#34; #37;#37;#123;init: #123;#125;" in chart
    assert "|\"answers#91;'#34;#124; n1'#93;\"|" in chart
    assert all(BOX.fullmatch(line) or ARROW.fullmatch(line) for line in chart.splitlines()[1:])
    assert arrows(flow)[0][0] == "flow"


def test_long_texts_are_cut():
    def flow(ctx):
        ctx.note("a" * 10 + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

    (label,) = [end for _, _, end in arrows(flow) if end.startswith("note")]
    assert len(label.replace("#8230;", "…")) == 80
    assert label.endswith("#8230;")
