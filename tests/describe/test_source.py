"""Whose text can be read, and that reading it runs nothing."""

import functools

import pytest

from django_durable import SourceUnavailableError, workflow
from tests.describe.shapes import nodes_of, outline, shape_of, text


def charge(): ...


def decorated(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


class Trap:
    """Whatever it is asked, it answers by failing, once it is armed."""

    armed = False

    def __getattribute__(self, name):
        assert not Trap.armed, name
        return object.__getattribute__(self, name)

    def __call__(self, *args):
        raise AssertionError("called")

    def __eq__(self, other):
        raise AssertionError("compared")

    __hash__ = None

    def __repr__(self):
        raise AssertionError("shown")


trap = Trap()


@pytest.fixture
def armed(monkeypatch):
    monkeypatch.setattr(Trap, "armed", True)


@pytest.mark.usefixtures("armed")
def test_no_code_of_the_user_runs():
    def flow(ctx, amount=1):
        ctx.step(trap)
        ctx.step(trap.charge, compensate=trap)
        ctx.wait_for_signal(trap)
        ctx.switch("x", trap, {"a": trap, "b": lambda: trap(ctx)})
        for line in trap:
            trap(ctx, line)
        raise AssertionError("ran")

    assert outline(flow) == text(
        """
        step body=trap
        step body=trap.charge compensate=trap
        waitForSignal signal=trap
        switch x value=trap:
            a:
                pass
            b:
                unknown trap(ctx)
        for line in trap:
            unknown trap(ctx, line)
        raise AssertionError('ran')
        """
    )


def test_a_decorated_workflow_is_read_behind_its_decorators():
    @decorated
    @decorated
    def flow(ctx):
        ctx.step(charge)

    assert [node.id for node in nodes_of(flow)] == ["charge"]


def test_lines_are_those_of_the_file_in_a_function_whose_texts_begin_further_left():
    def flow(ctx):
        ctx.note("""one
two""")
        ctx.step(charge)

    first = flow.__code__.co_firstlineno
    assert [node.line for node in shape_of(flow).nodes] == [first + 1, first + 3]


def made_by_exec():
    namespace = {}
    exec("def flow(ctx): ctx.sleep(1)", namespace)
    return namespace["flow"]


class Callable:
    def __call__(self, ctx): ...


def of_a_file_that_is_gone(tmp_path):
    path = tmp_path / "gone.py"
    path.write_text("def flow(ctx): ctx.sleep(1)\n")
    namespace = {"__name__": "gone"}
    exec(compile(path.read_text(), path, "exec"), namespace)
    path.unlink()
    return namespace["flow"]


def of_a_file_that_has_changed(tmp_path):
    path = tmp_path / "changed.py"
    path.write_text("def flow(ctx): ctx.sleep(1)\n")
    namespace = {"__name__": "changed"}
    exec(compile(path.read_text(), path, "exec"), namespace)
    path.write_text("def other(ctx): (((\n")
    return namespace["flow"]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda tmp_path: made_by_exec(), "flow"),
        (lambda tmp_path: lambda ctx: ctx.sleep(1), "<lambda>"),
        (of_a_file_that_is_gone, "gone.flow"),
        (of_a_file_that_has_changed, "changed.flow"),
    ],
    ids=["exec", "lambda", "gone", "changed"],
)
def test_a_function_without_text_is_refused_with_its_name_and_what_to_do(made, name, tmp_path):
    definition = workflow("flow")(made(tmp_path))
    with pytest.raises(SourceUnavailableError, match=rf"{name} cannot be read: .* Define it with `def` in a module"):
        definition.describe()
