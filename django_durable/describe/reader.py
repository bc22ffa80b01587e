"""Reads a function from top to bottom, in the order in which it would run, into nodes.

``Expressions`` knows calls: of the context, of functions that are read on, of what may call back. ``Reader`` adds the
statements, which choose, repeat and leave. What cannot matter to a durable call leaves no node.
"""

from __future__ import annotations

import ast

from django_durable.describe.expressions import Expressions
from django_durable.describe.nodes import LEAVING, Branch, Node, is_durable, walk
from django_durable.describe.scope import Function, Scope
from django_durable.describe.source import definition_of, head_of, parameters_of, plain_function, text_of


def read(fn: object) -> tuple[Node, ...]:
    """The nodes of a workflow's function. Raises SourceUnavailableError."""
    syntax = definition_of(fn)
    function = plain_function(fn)
    assert function is not None
    reader = Reader(Scope.around(function))
    contexts = {parameter.arg for parameter in parameters_of(syntax)[:1]}
    return reader.read(Function(syntax.name, syntax, reader.scope), contexts)


class Reader(Expressions):
    """The statements; each leaves nodes in ``self.nodes``."""

    # -- which choose ------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        branches = [Branch(label=text_of(node.test), nodes=self.collect(node.body))]
        otherwise = self.collect(node.orelse)
        if len(node.orelse) == 1 and [found.kind for found in otherwise] == ["if"]:  # elif
            branches += otherwise[0].branches
        elif otherwise:
            branches.append(Branch(label="else", nodes=otherwise))
        self.control("if", node, branches)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        branches = [Branch(label=head_of(case), nodes=self.collect([case])) for case in node.cases]
        self.control("match", node, branches, value=text_of(node.subject))

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        branches = [Branch(label="try", nodes=self.collect(node.body))]
        branches += [Branch(label=head_of(handler), nodes=self.collect([handler])) for handler in node.handlers]
        for label, body in (("else", node.orelse), ("finally", node.finalbody)):
            if nodes := self.collect(body):
                branches.append(Branch(label=label, nodes=nodes))
        self.control("try", node, branches)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item)
        self.control("with", node, [Branch(label=head_of(node), nodes=self.collect(node.body))])

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.visit_With(node)

    # -- which repeat ------------------------------------------------------------------------------

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self.loop("for", node, self.collect([node.target, *node.body]), self.collect(node.orelse))

    def visit_While(self, node: ast.While) -> None:
        self.loop("while", node, self.collect([node.test, *node.body]), self.collect(node.orelse))

    def loop(
        self, kind: str, node: ast.For | ast.AsyncFor | ast.While, body: tuple[Node, ...], otherwise: tuple[Node, ...]
    ) -> None:
        branches = [Branch(label=head_of(node), nodes=body)]
        if otherwise:
            branches.append(Branch(label="else", nodes=otherwise))
        inside = [*walk(body), *walk(otherwise)]
        if is_durable(inside) or any(found.kind in LEAVING for found in inside):  # else it only turns round itself
            self.control(kind, node, branches)

    # -- which leave -------------------------------------------------------------------------------

    def visit_Return(self, node: ast.Return) -> None:
        self.leave("return", node, node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.leave("raise", node, node.exc)

    def leave(self, kind: str, node: ast.stmt, value: ast.expr | None) -> None:
        self.generic_visit(node)
        details = {} if value is None else {"value": text_of(value)}
        self.nodes.append(Node(kind=kind, line=node.lineno, details=details))

    def visit_Break(self, node: ast.Break) -> None:
        self.nodes.append(Node(kind="break", line=node.lineno))

    def visit_Continue(self, node: ast.Continue) -> None:
        self.nodes.append(Node(kind="continue", line=node.lineno))

    # -- which define ------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_all([*node.decorator_list, *node.args.defaults])
        if node.decorator_list:
            self.may_use_context(node)
        else:
            self.scope.functions[node.name] = Function(node.name, node, self.scope)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.may_use_context(node)

    def may_use_context(self, node: ast.stmt) -> None:
        if any(self.scope.is_context(part) for part in ast.walk(node)):
            self.unknown_statement()

    def visit_Assign(self, node: ast.Assign) -> None:
        value, target = node.value, node.targets[0]
        if isinstance(value, ast.Lambda) and isinstance(target, ast.Name) and len(node.targets) == 1:
            self.visit(target)
            self.scope.functions[target.id] = Function("<lambda>", value, self.scope)
        else:
            self.visit_all([value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit_all([*([node.value] if node.value else []), node.target])
