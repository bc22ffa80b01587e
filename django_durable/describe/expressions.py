"""The expressions of a function: where its durable calls are."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterable, Sequence

from django_durable.describe.calls import Argument, arguments_of, context_parameters, own_context, tell, values_of
from django_durable.describe.nodes import Branch, Node, is_durable
from django_durable.describe.operations import OPERATIONS, QUIET, Operation
from django_durable.describe.scope import Function, Scope, names_bound_by, names_of, names_of_targets
from django_durable.describe.source import head_of, text_of


class Expressions(ast.NodeVisitor):
    """Visits syntax in the order in which it runs; what it finds is in ``nodes``, the place it is at in ``scope``."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes: list[Node] = []
        self._statement: ast.stmt | None = None
        self._reading: list[tuple[int, int]] = []  # where the functions begin that are being read, for recursion

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self._statement = node
        for name in names_bound_by(node):
            if self.scope.forget(name):  # what it holds now is not followed
                self.unknown_statement()
        super().visit(node)

    def visit_all(self, syntax: Iterable[ast.AST]) -> None:
        for node in syntax:
            self.visit(node)

    def collect(self, syntax: Iterable[ast.AST]) -> tuple[Node, ...]:
        """The nodes of one branch, apart from the others."""
        outer, self.nodes = self.nodes, []
        self.visit_all(syntax)
        inner, self.nodes = self.nodes, outer
        return tuple(inner)

    def read(self, function: Function, contexts: set[str]) -> tuple[Node, ...]:
        """The nodes of a function's body; none if it is being read already. contexts: parameters that hold it."""
        if self.is_reading(function):
            return ()
        syntax, outer = function.syntax, self.scope
        self._reading.append(_place(function))
        self.scope = function.around.inside(names_of(syntax), contexts)
        nodes = self.collect([syntax.body] if isinstance(syntax, ast.Lambda) else syntax.body)
        self.scope = outer
        self._reading.pop()
        return nodes

    def is_reading(self, function: Function) -> bool:
        return _place(function) in self._reading

    def control(self, kind: str, node: ast.stmt | ast.expr, branches: Sequence[Branch], **details: str) -> None:
        """A piece of control flow, if there is anything on its branches."""
        if any(branch.nodes for branch in branches):
            self.nodes.append(Node(kind=kind, line=node.lineno, details=details, branches=tuple(branches)))

    def unknown(self, line: int, text: str, *branches: Branch) -> None:
        """What happens here cannot be told; said once for a line, unless it has branches."""
        last = self.nodes[-1] if self.nodes else None
        if branches or last is None or (last.kind, last.line) != ("unknown", line):
            self.nodes.append(Node(kind="unknown", line=line, details={"code": text}, branches=branches))

    def unknown_statement(self) -> None:
        assert self._statement is not None
        self.unknown(self._statement.lineno, head_of(self._statement))

    # -- calls -------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        method = self.scope.method(node.func)
        if method in OPERATIONS:
            self.operation(node, OPERATIONS[method])
        elif method is not None and method not in QUIET:
            self.visit_all(values_of(node))
            self.unknown(node.lineno, text_of(node))
        else:
            self.other_call(node)

    def operation(self, call: ast.Call, operation: Operation) -> None:
        """A call of the context; what its arguments do comes first."""
        branches: list[Branch] = []
        told: list[Argument] = []
        for name, value in arguments_of(call, operation, self.scope):
            written = self.branches(name, value) if operation.has_branches else []
            branches += written
            if not written:
                told.append((name, value))
                self.visit(value)
        node_id, details = tell(told, operation, self.scope)
        self.nodes.append(
            Node(kind=operation.kind, id=node_id, line=call.lineno, details=details, branches=tuple(branches))
        )

    def other_call(self, call: ast.Call) -> None:
        """A function: read on if it may use the context and its text is in this file."""
        values = values_of(call)
        others = [value for value in values if not self.scope.is_context(value)]
        is_given_context = len(others) < len(values)
        if self.scope.value(call.func) is asyncio.gather:
            self.control("gather", call, [Branch(label=text_of(each), nodes=self.collect([each])) for each in values])
            return
        function = self.scope.function(call.func) if is_given_context or self.scope.is_local(call.func) else None
        contexts = context_parameters(call, function, self.scope) if function else set()
        if function is None or (is_given_context and not contexts):
            self.visit_all([call.func, *others])
            if is_given_context and not self.scope.is_harmless(call.func):
                self.unknown(call.lineno, text_of(call))
            return
        self.visit_all(others)
        nodes = self.read(function, contexts)
        if is_durable(nodes) or self.is_reading(function):
            branches = (Branch(label=function.name, nodes=nodes),) if nodes else ()
            details = {"code": text_of(call)}
            self.nodes.append(
                Node(kind="helper", id=function.name, line=call.lineno, details=details, branches=branches)
            )

    # -- functions as values -----------------------------------------------------------------------

    def branches(self, name: str, value: ast.expr) -> list[Branch]:
        """Those that are written down in an argument: one function, or a literal dict, list, tuple or set of them."""
        if self.scope.is_code(value):
            return [self.branch(name or text_of(value), value)]
        if isinstance(value, ast.Dict):
            labelled = [(_label(key), part) for key, part in zip(value.keys, value.values, strict=True)]
        elif isinstance(value, ast.List | ast.Tuple | ast.Set):
            labelled = [(self.scope.name_of(part) or str(i), part) for i, part in enumerate(value.elts, start=1)]
        else:
            return []
        branches = [self.branch(label, part) for label, part in labelled]
        is_any = any(self.scope.is_code(part) for _, part in labelled) or any(branch.nodes for branch in branches)
        return branches if is_any else []

    def branch(self, label: str, value: ast.expr) -> Branch:
        function = self.function(value)
        nodes = self.collect([value]) if function is None else self.read(function, own_context(function, self.scope))
        return Branch(label=label, nodes=nodes)

    def function(self, value: ast.expr) -> Function | None:
        return Function("lambda", value, self.scope) if isinstance(value, ast.Lambda) else self.scope.function(value)

    def may_be_called(self, value: ast.Name | ast.Lambda) -> None:
        """A function goes where it cannot be followed; told if it would make durable calls."""
        function = self.function(value)
        assert function is not None
        nodes = self.read(function, set())
        if is_durable(nodes):
            self.unknown(value.lineno, text_of(value), Branch(label=function.name, nodes=nodes))

    # -- names -------------------------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> None:
        method = self.scope.method(node)
        if method is None:
            self.visit(node.value)
        elif method not in QUIET:
            self.unknown(node.lineno, text_of(node))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and self.scope.is_context(node):
            self.unknown_statement()
        elif isinstance(node.ctx, ast.Load) and self.scope.is_local(node):
            self.may_be_called(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all(node.args.defaults)
        self.may_be_called(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit_all([node.value, node.target])

    # -- expressions that choose or repeat ---------------------------------------------------------

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        ways = [(text_of(node.test), node.body), ("else", node.orelse)]
        branches = [Branch(label=label, nodes=self.collect([way])) for label, way in ways]
        self.control("if", node, branches)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        for number, value in enumerate(node.values[1:], start=1):
            before = text_of(ast.BoolOp(node.op, node.values[:number]) if number > 1 else node.values[0])
            label = before if isinstance(node.op, ast.And) else f"not ({before})"
            self.control("if", value, [Branch(label=label, nodes=self.collect([value]))])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self.comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node, [node.key, node.value])

    def comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, results: list[ast.expr]
    ) -> None:
        """A loop with names of its own; only what it goes over first is looked up outside."""
        first, *others = node.generators
        self.visit(first.iter)
        outer, self.scope = self.scope, self.scope.inside(names_of_targets(node.generators), set())
        nodes = self.collect([*first.ifs, *others, *results])
        self.scope = outer
        label = " ".join(text_of(part) for part in node.generators)
        self.control("for", node, [Branch(label=label, nodes=nodes)])


def _place(function: Function) -> tuple[int, int]:
    """All functions that are read are in one file."""
    return function.syntax.lineno, function.syntax.col_offset


def _label(key: ast.expr | None) -> str:
    if isinstance(key, ast.Constant):
        return str(key.value)
    return "**" if key is None else text_of(key)
