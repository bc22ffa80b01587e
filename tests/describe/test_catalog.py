"""``registry.workflows()``: what lists and forms are made of."""

from datetime import timedelta
from typing import Optional

import pytest

from django_durable import InvalidOptionError, registry, workflow
from django_durable.describe import ParameterInfo, WorkflowInfo


def info_of(fn, name="flow", **options):
    workflow(name, **options)(fn)
    return next(info for info in registry.workflows() if info.name == name)


def parameters_of(fn):
    return {parameter.name: parameter for parameter in info_of(fn).parameters}


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch):
    monkeypatch.setattr(registry, "_versions", {})


def flow(ctx): ...


def test_it_tells_what_a_workflow_was_registered_with():
    def fulfil(ctx, order_id: int):
        """Send it.

        And more.
        """

    place = f"{__name__}.{fulfil.__qualname__}"
    options = {"version": 3, "queue": "mail", "priority": "low", "timeout": timedelta(minutes=1), "category": "sales"}
    assert info_of(fulfil, "orders.fulfil", **options) == WorkflowInfo(
        name="orders.fulfil",
        version=3,
        category="sales",
        function=place,
        doc="Send it.",
        queue="mail",
        priority="low",
        timeout_seconds=60.0,
        parameters=(
            ParameterInfo(
                name="order_id", annotation="int", default=None, is_required=True, schema={"type": "integer"}
            ),
        ),
    )


def test_they_come_by_name_and_version():
    for name, version in [("b", 1), ("a", 10), ("a", 9)]:
        workflow(name, version=version)(flow)
    assert [(info.name, info.version) for info in registry.workflows()] == [("a", 9), ("a", 10), ("b", 1)]


def test_the_category_is_the_label_of_the_app_unless_it_is_given():
    def made(ctx): ...

    made.__module__ = "testproject.shop.workflows"
    assert info_of(made).category == "shop"


def test_without_an_app_the_category_is_the_first_part_of_the_module():
    assert info_of(flow).category == "tests"


def test_a_category_is_a_name():
    with pytest.raises(InvalidOptionError, match="Category 'two words' cannot be used"):
        workflow("flow", category="two words")


def test_defaults_are_told_as_text_and_make_an_argument_optional():
    def with_defaults(ctx, number, text="a", *, rate: float = 1.5): ...

    found = parameters_of(with_defaults)
    assert [(p.name, p.annotation, p.default, p.is_required) for p in found.values()] == [
        ("number", None, None, True),
        ("text", None, "'a'", False),
        ("rate", "float", "1.5", False),
    ]


class Address:
    """A type that JSON has no word for."""


def typed(
    ctx,
    text: str,
    number: int,
    rate: float,
    is_here: bool,
    lines: list,
    counts: list[int],
    options: dict,
    prices: dict[str, float],
    maybe: int | None,
    optional: Optional[str],  # noqa: UP045
    nested: list[dict[str, int | None]],
    quoted: "int | str | None",
    address: Address,
    any_of: Address | None,
    broken: "int |",  # noqa: F722
    bare,
): ...


def test_simple_types_have_a_json_schema_and_others_may_be_anything():
    integer_or_null = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert {name: parameter.schema for name, parameter in parameters_of(typed).items()} == {
        "text": {"type": "string"},
        "number": {"type": "integer"},
        "rate": {"type": "number"},
        "is_here": {"type": "boolean"},
        "lines": {"type": "array"},
        "counts": {"type": "array", "items": {"type": "integer"}},
        "options": {"type": "object"},
        "prices": {"type": "object", "additionalProperties": {"type": "number"}},
        "maybe": integer_or_null,
        "optional": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "nested": {"type": "array", "items": {"type": "object", "additionalProperties": integer_or_null}},
        "quoted": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
        "address": {},
        "any_of": {},
        "broken": {},
        "bare": {},
    }


def test_the_input_schema_is_that_of_an_object_of_the_arguments():
    def shaped(ctx, number: int, text: str = "a"): ...

    assert info_of(shaped).input_schema == {
        "type": "object",
        "properties": {"number": {"type": "integer"}, "text": {"type": "string"}},
        "required": ["number"],
        "additionalProperties": False,
    }


def test_arguments_with_stars_are_told_and_let_others_in():
    def open_ended(ctx, *args: int, **kwargs): ...

    info = info_of(open_ended)
    assert [(p.name, p.is_required) for p in info.parameters] == [("*args", False), ("**kwargs", False)]
    assert info.input_schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": True}
