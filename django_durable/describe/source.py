"""From a function to its syntax tree."""

from __future__ import annotations

import ast
import inspect
import tokenize
from types import FunctionType

from django_durable.exceptions import SourceUnavailableError

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def plain_function(value: object) -> FunctionType | None:
    """The function that a user wrote, behind decorators that keep it in ``__wrapped__``. None for other things."""
    while type(value) is FunctionType and "__wrapped__" in value.__dict__:
        value = value.__dict__["__wrapped__"]
    return value if type(value) is FunctionType else None


def definition_of(fn: object) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The ``def`` of a function, plain or async, with the line numbers of its file. Raises SourceUnavailableError."""
    function = plain_function(fn)
    if function is None:
        raise SourceUnavailableError(repr(type(fn)))
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        lines, first = inspect.getsourcelines(function.__code__)
        # Not dedented: a text of several lines inside the function may begin further left than the function does.
        is_indented = lines[0][:1].isspace()
        tree = ast.parse("".join(["if True:\n", *lines] if is_indented else lines))
    except (OSError, SyntaxError, tokenize.TokenError) as error:
        raise SourceUnavailableError(name) from error
    found = tree.body[0].body[0] if is_indented and isinstance(tree.body[0], ast.If) else tree.body[0]
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) or found.name != function.__code__.co_name:
        raise SourceUnavailableError(name)
    return ast.increment_lineno(found, first - 1 - is_indented)


def parameters_of(function: AnyFunction) -> list[ast.arg]:
    """Those that an argument without a name can reach, in order."""
    return [*function.args.posonlyargs, *function.args.args]


def text_of(node: ast.AST) -> str:
    """Its source on one line, in the standard form."""
    return " ".join(ast.unparse(node).split())


def head_of(node: ast.AST) -> str:
    """The first line of a statement; without the colon, if a body follows."""
    return ast.unparse(node).strip().splitlines()[0].removesuffix(":")
