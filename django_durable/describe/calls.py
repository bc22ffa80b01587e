"""What a call says about itself: its arguments by the names of the operation, and which of them hold the context."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from itertools import chain, repeat, takewhile

from django_durable.describe.operations import NAMED, OPERATIONS, Operation
from django_durable.describe.scope import Function, Scope
from django_durable.describe.source import parameters_of, text_of

Argument = tuple[str, ast.expr]  # the operation's name for it, empty if it has none


def arguments_of(call: ast.Call, operation: Operation, scope: Scope) -> list[Argument]:
    """All arguments in the order in which they are evaluated."""
    names = list(operation.arguments)
    if operation.takes_id and _begins_with_id(call.args, scope):
        names.insert(0, "id")
    certain = sum(1 for _ in _before_star(call.args))
    by_place = zip(chain(names[:certain], repeat("")), call.args, strict=False)
    known = {"id", *operation.arguments, *operation.keywords}
    by_name = ((word.arg if word.arg in known else None, word.value) for word in call.keywords)
    return [*by_place, *((name or "", value) for name, value in by_name)]


def tell(arguments: list[Argument], operation: Operation, scope: Scope) -> tuple[str | None, dict[str, str]]:
    """The id and the details of a call: names where they can be seen, else source text."""
    stored: dict[str, str] = {}
    details: dict[str, str] = {}
    for name, value in arguments:
        seen = scope.name_of(value) if name in NAMED else None
        if seen is not None:
            stored[name] = seen
        if name:
            details[name] = seen if seen is not None else text_of(value)
    if "id" in stored:
        return details.pop("id"), details
    return None if "id" in details else _default_id(operation, stored), details


def values_of(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(word.value for word in call.keywords)]


def context_parameters(call: ast.Call, function: Function, scope: Scope) -> set[str]:
    """The parameters of a function that this call gives the context to."""
    by_place = zip(parameters_of(function.syntax), _before_star(call.args), strict=False)
    given = {parameter.arg for parameter, value in by_place if scope.is_context(value)}
    return given | {word.arg for word in call.keywords if word.arg is not None and scope.is_context(word.value)}


def own_context(function: Function, scope: Scope) -> set[str]:
    """The first parameter of a branch if it is called, annotated or used like the context."""
    for first in parameters_of(function.syntax)[:1]:
        if first.arg in scope.contexts or _is_annotated(first) or _is_used_as_context(first.arg, function):
            return {first.arg}
    return set()


def _begins_with_id(values: list[ast.expr], scope: Scope) -> bool:
    """A text, or something that only a run can tell before something to call."""
    first, second = [*values, None, None][:2]
    if first is None or scope.is_text(first):
        return first is not None
    return second is not None and scope.is_code(second) and not scope.is_code(first)


def _is_annotated(parameter: ast.arg) -> bool:
    return parameter.annotation is not None and text_of(parameter.annotation).strip("'").endswith("Context")


def _is_used_as_context(name: str, function: Function) -> bool:
    used = (part for part in ast.walk(function.syntax) if isinstance(part, ast.Attribute) and part.attr in OPERATIONS)
    return any(isinstance(part.value, ast.Name) and part.value.id == name for part in used)


def _default_id(operation: Operation, stored: Mapping[str, str]) -> str | None:
    try:
        return operation.default_id.format_map(stored) or None
    except KeyError:
        return None


def _before_star(values: list[ast.expr]) -> Iterator[ast.expr]:
    return takewhile(lambda value: not isinstance(value, ast.Starred), values)
