"""What a name means at a place in a function, told without running anything."""

from __future__ import annotations

import ast
import builtins
import functools
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any, cast

from django_durable.describe.source import AnyFunction, definition_of, parameters_of, plain_function
from django_durable.exceptions import SourceUnavailableError
from django_durable.names import Named
from django_durable.signal_types import SignalType

_NOTHING = object()
_NAMED_PARTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Function:
    """A function whose text can be read, and the scope around it."""

    name: str
    syntax: AnyFunction
    around: Scope


@dataclass(slots=True)
class Scope:
    """The names of one function while it is read from top to bottom.

    outside: the values of what it does not bind itself. bound: what it does, and the functions around it; no value is
    known of these. contexts: the bound names that hold the workflow's context. functions: those defined inside.
    """

    file: str
    outside: Mapping[str, object]
    bound: frozenset[str]
    contexts: set[str]
    functions: dict[str, Function]

    @classmethod
    def around(cls, fn: FunctionType) -> Scope:
        """The module and the closure of a function."""
        cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        closure = {name: _contents(cell) for name, cell in cells}
        outside: Mapping[str, object] = ChainMap(closure, fn.__globals__, vars(builtins))
        return cls(fn.__code__.co_filename, outside, frozenset(), set(), {})

    def inside(self, bound: frozenset[str], contexts: set[str]) -> Scope:
        """A scope in this one that binds names anew; ``contexts`` are those of them that hold the context."""
        functions = {name: function for name, function in self.functions.items() if name not in bound}
        return Scope(self.file, self.outside, self.bound | bound, (self.contexts - bound) | contexts, functions)

    def forget(self, name: str) -> bool:
        """The name was bound to something else. Returns whether it held the context."""
        self.functions.pop(name, None)
        was_context = name in self.contexts
        self.contexts.discard(name)
        return was_context

    def is_local(self, node: ast.AST) -> bool:
        """Whether it names a function that is defined inside."""
        return isinstance(node, ast.Name) and node.id in self.functions

    def is_context(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self.contexts

    def method(self, node: ast.AST) -> str | None:
        """``step`` for ``ctx.step``, ``state.set`` for ``ctx.state.set``; None for what is not the context's."""
        if not isinstance(node, ast.Attribute):
            return None
        if self.method(node.value) == "state":
            return f"state.{node.attr}"
        return node.attr if self.is_context(node.value) else None

    def value(self, node: ast.AST) -> object:
        """What a name or the attribute of a module stands for, or a marker that equals nothing."""
        if isinstance(node, ast.Name) and node.id not in self.bound:
            return self.outside.get(node.id, _NOTHING)
        if isinstance(node, ast.Attribute):
            module = self.value(node.value)
            if type(module) is ModuleType:  # by type: other objects run their own code when asked for attributes
                return vars(module).get(node.attr, _NOTHING)
        return _NOTHING

    def name_of(self, node: ast.AST) -> str | None:
        """The name that the engine would store for it; None if only a run can tell."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name) and self.is_local(node):
            return _identifier(self.functions[node.id].name)
        return stored_name(self.value(node))

    def is_text(self, node: ast.AST) -> bool:
        """Whether it can be seen to be a string, be its value known or not."""
        if isinstance(node, ast.BinOp):
            return self.is_text(node.left) or self.is_text(node.right)
        value = node.value if isinstance(node, ast.Constant) else self.value(node)
        return isinstance(node, ast.JoinedStr) or type(value) is str

    def is_code(self, node: ast.AST) -> bool:
        """Whether it is seen to be a function, a step or a workflow."""
        if isinstance(node, ast.Lambda) or self.is_local(node):
            return True
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        value = self.value(node)
        is_data = type(value) is str or type(value) is SignalType
        return not is_data and stored_name(value) is not None

    def is_harmless(self, node: ast.AST) -> bool:
        """Whether calling it cannot make a durable call, whatever it is given."""
        return type(self.value(node)) is BuiltinFunctionType

    def function(self, node: ast.AST) -> Function | None:
        """A function that is defined in the same file, to be read on."""
        if isinstance(node, ast.Name) and self.is_local(node):
            return self.functions[node.id]
        fn = plain_function(self.value(node))
        if fn is None or fn.__code__.co_filename != self.file:
            return None
        try:
            return Function(fn.__name__, definition_of(fn), Scope.around(fn))
        except SourceUnavailableError:
            return None


def names_bound_by(node: ast.AST) -> Iterator[str]:
    """Names that this one piece of syntax binds, without those of the pieces inside it."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, _NAMED_PARTS) and node.name is not None:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def names_of(function: AnyFunction) -> frozenset[str]:
    """Its parameters and every name that it binds anywhere."""
    arguments = [*parameters_of(function), *function.args.kwonlyargs, function.args.vararg, function.args.kwarg]
    names = {argument.arg for argument in arguments if argument is not None}
    body = function.body if isinstance(function.body, list) else [function.body]
    not_own: set[str] = set()
    for node in (node for part in body for node in _own_parts(part)):
        names.update(names_bound_by(node))
        if isinstance(node, ast.Global):
            not_own.update(node.names)
    return frozenset(names - not_own)


def names_of_targets(comprehension: list[ast.comprehension]) -> frozenset[str]:
    """What the ``for`` parts of a comprehension bind."""
    return frozenset(name for part in comprehension for node in ast.walk(part.target) for name in names_bound_by(node))


def _own_parts(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is inside it, but not inside functions and classes, which have names of their own."""
    yield node
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _own_parts(child)


def stored_name(value: object) -> str | None:
    if issubclass(type(value), Named):  # by type: isinstance() would ask the object for its __class__
        return cast(Named, value).name
    if type(value) is str:
        return value
    if type(value) is functools.partial:
        return stored_name(value.func)
    if type(value) is FunctionType or type(value) is BuiltinFunctionType:
        return _identifier(value.__name__)
    return None


def _identifier(name: str) -> str | None:
    """The name of a function unless it is ``<lambda>``, which the engine would refuse."""
    return name if name.isidentifier() else None


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # bound later
        return _NOTHING
