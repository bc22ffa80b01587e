"""What is registered, told by definitions: for lists, forms and other programs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.apps import apps

_STARS: Mapping[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "None": "null",
}


class Definition(Protocol):
    """A ``WorkflowDefinition``, seen from below."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def category(self) -> str | None: ...
    @property
    def fn(self) -> Callable[..., Any]: ...
    @property
    def queue(self) -> str: ...
    @property
    def priority(self) -> str: ...
    @property
    def timeout_seconds(self) -> float | None: ...
    @property
    def signature(self) -> inspect.Signature: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterInfo:
    """One argument of a workflow. annotation, default: as text, None without one. schema: JSON Schema of its type."""

    name: str  # with its stars: *args, **kwargs
    annotation: str | None
    default: str | None
    is_required: bool
    schema: Mapping[str, Any]

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> ParameterInfo:
        stars = _STARS.get(parameter.kind, "")
        has_default = parameter.default is not parameter.empty
        annotation = None if parameter.annotation is parameter.empty else _text(parameter.annotation)
        return cls(
            name=stars + parameter.name,
            annotation=annotation,
            default=repr(parameter.default) if has_default else None,
            is_required=not (has_default or stars),
            schema={} if annotation is None else _schema(annotation),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInfo:
    """One registered version of a workflow. function: its module and name. doc: the first line of its docstring."""

    name: str
    version: int
    category: str
    function: str
    doc: str
    queue: str
    priority: str
    timeout_seconds: float | None
    parameters: tuple[ParameterInfo, ...]

    @classmethod
    def of(cls, definition: Definition) -> WorkflowInfo:
        fn = definition.fn
        return cls(
            name=definition.name,
            version=definition.version,
            category=definition.category or _app_of(fn.__module__ or ""),
            function=f"{fn.__module__}.{fn.__qualname__}",
            doc=(inspect.getdoc(fn) or "").partition("\n")[0],
            queue=definition.queue,
            priority=definition.priority,
            timeout_seconds=definition.timeout_seconds,
            parameters=tuple(map(ParameterInfo.of, definition.signature.parameters.values())),
        )

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments given by name; a type that JSON has no word for is ``{}``, which is anything."""
        plain = [parameter for parameter in self.parameters if not parameter.name.startswith("*")]
        return {
            "type": "object",
            "properties": {parameter.name: dict(parameter.schema) for parameter in plain},
            "required": [parameter.name for parameter in plain if parameter.is_required],
            "additionalProperties": any(parameter.name.startswith("**") for parameter in self.parameters),
        }


def _app_of(module: str) -> str:
    """The label of the app that the module is in, else the first part of its name."""
    config = apps.get_containing_app_config(module) if apps.apps_ready else None
    return module.partition(".")[0] if config is None else config.label


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _schema(annotation: str) -> dict[str, Any]:
    """From the annotation's text, so that nothing of it is evaluated."""
    try:
        return _schema_of(ast.parse(annotation, mode="eval").body)
    except SyntaxError:
        return {}


def _schema_of(node: ast.expr) -> dict[str, Any]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _any_of(_schema_of(node.left), _schema_of(node.right))
    if isinstance(node, ast.Subscript):
        return _schema_of_generic(ast.unparse(node.value).removeprefix("typing."), node.slice)
    name = _JSON_TYPES.get(ast.unparse(node))
    return {} if name is None else {"type": name}


def _schema_of_generic(name: str, inner: ast.expr) -> dict[str, Any]:
    if name == "Optional":
        return _any_of(_schema_of(inner), {"type": "null"})
    if name == "list":
        return {"type": "array", "items": _schema_of(inner)}
    if name == "dict" and isinstance(inner, ast.Tuple) and len(inner.elts) == 2:
        return {"type": "object", "additionalProperties": _schema_of(inner.elts[1])}
    return {}


def _any_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    """One of them; flat, and anything if one of them is anything."""
    flat = [part for schema in schemas for part in schema.get("anyOf", [schema])]
    return {} if {} in flat else {"anyOf": flat}
