"""Whether a value that a person gives is what a step says it returns, as far as that can be told here.

A step's body is known by the name in the workflow's module under which the workflow calls it; nothing is imported.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

from django_durable.definitions import StepDefinition
from django_durable.exceptions import InvalidOptionError

_UNIONS = (typing.Union, types.UnionType)


def check_result(workflow: Callable[..., Any] | None, target: str, name: str, result: object) -> None:
    """Refuse a result that the body could not have returned. Raises InvalidOptionError.

    workflow: the function, None if this process has not got it. target: name of the body. name: of the step.
    """
    body = getattr(workflow, "__globals__", {}).get(target)
    if isinstance(body, StepDefinition):
        body = body.fn
    if getattr(body, "__name__", None) != target:
        return
    try:
        hint = typing.get_type_hints(body).get("return", Any)
    except Exception:  # a name that only a type checker sees
        return
    if not fits(result, hint):
        raise InvalidOptionError(
            f"Step {name!r} returns {_shown(hint)}, not {type(result).__qualname__}; nothing was changed."
        )


def fits(value: object, declared: Any) -> bool:
    """By the outermost class; what is inside of lists and dicts is not looked at."""
    if declared is None:
        return value is None
    origin = typing.get_origin(declared)
    if origin in _UNIONS:
        return any(fits(value, each) for each in typing.get_args(declared))
    if origin is typing.Annotated:
        return fits(value, typing.get_args(declared)[0])
    if origin is typing.Literal:
        return value in typing.get_args(declared)
    expected = origin or declared
    if expected is float:
        return isinstance(value, int | float)
    try:
        return isinstance(value, expected)
    except TypeError:  # no class: Any, a type variable, a protocol, a typed dict
        return True


def _shown(declared: Any) -> str:
    return getattr(declared, "__qualname__", None) or str(declared)
