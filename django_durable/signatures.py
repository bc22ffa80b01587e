"""Which functions can be workflows, and what arguments fit them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from django_durable.exceptions import ConfigurationError
from django_durable.registry import place_of


def checked(fn: Callable[..., Any], on_change: str) -> inspect.Signature:
    """Without the context."""
    if on_change != "park" and inspect.iscoroutinefunction(fn):
        raise ConfigurationError(
            f"Workflow {place_of(fn)} is async: its calls are matched in order. Leave out on_change={on_change!r}."
        )
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(f"Workflow {place_of(fn)} must be a function, plain or async, and no generator.")
    parameters = list(inspect.signature(fn).parameters.values())
    if not parameters or parameters[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise ConfigurationError(f"Workflow {place_of(fn)} must take the context as its first argument.")
    return inspect.Signature(parameters[1:])


def arity(signature: inspect.Signature) -> range:
    """How many positional arguments are enough and not too many; none at all when others are needed beside them."""
    parameters = signature.parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in required):
        return range(0)
    most = sum(parameter.kind in positional for parameter in parameters)
    return range(sum(parameter.kind in positional for parameter in required), most + 1)
