"""The workflow that runs a generated program, and its step bodies, each of which tells the ledger."""

from __future__ import annotations

from functools import partial
from typing import Any

from django_durable import Cancelled, Context, StepFailed, current_step, workflow
from django_durable.exceptions import InvalidOptionError
from django_durable.retry import Retry
from tests.generated.programs import Block, Node
from tests.ledger_app import ledger
from tests.ledger_app.programs import Broken, Refused, effect, insert, seen, witnessed

ATTEMPTS = 3
RETRIED = Retry(max_attempts=ATTEMPTS, initial_seconds=1, jitter=0)


class Boom(Exception):
    """Raised by the program itself."""


def _tell() -> None:
    """Who ran, in the order of running; atomic bodies too, whose rows have no order."""
    info = current_step()
    ledger.current().write("body", info.execution_id, step=info.step_id)


def _fail_until(failures: int) -> None:
    if current_step().attempt <= failures:
        raise Broken(f"attempt {current_step().attempt}")


@witnessed(retry=RETRIED)
def generated_step(number: int, fails: int, undo_fails: int) -> list[int]:
    _tell()
    effect()
    _fail_until(fails)
    return [number, undo_fails]


@witnessed(atomic=True, retry=RETRIED)
def generated_row(number: int, fails: int, undo_fails: int) -> list[int]:
    _tell()
    insert()
    _fail_until(fails)
    return [number, undo_fails]


@witnessed(at_most_once=True)
def generated_once(number: int) -> int:
    _tell()
    effect()
    return number


@witnessed(raises=(Refused,), retry=RETRIED)
def generated_refusal() -> None:
    _tell()
    effect()
    raise Refused("no")


@witnessed(retry=RETRIED)
def generated_undo(result: list[int]) -> None:
    _tell()
    effect()
    _fail_until(result[1])


@witnessed(atomic=True, retry=RETRIED)
def generated_undo_row(result: list[int]) -> None:
    _tell()
    insert()
    _fail_until(result[1])


@workflow("generated.program")
def program(ctx: Context, tree: Block) -> list[Any]:
    return _block(tree, "", ctx)


@workflow("generated.leaving", on_failure="leave")
def leaving(ctx: Context, tree: Block) -> list[Any]:
    return _block(tree, "", ctx)


def _block(nodes: Block, scope: str, ctx: Context) -> list[Any]:
    return [_node(ctx, node, scope) for node in nodes]


def _node(ctx: Context, node: Node, scope: str) -> Any:  # one branch per primitive
    about = f"{scope}{node['n']}"
    match node["do"]:
        case "step":
            return _step(ctx, node)
        case "once":
            return ctx.step(node["id"], generated_once, node["n"])
        case "refuse":
            ctx.step(node["id"], generated_refusal)
        case "sleep":
            ctx.sleep(node["seconds"])
        case "wait":
            return seen(ctx, about, ctx.wait_for_signal(node["name"], timeout=node["timeout"], default="late"))
        case "note":
            ctx.note("noted")
        case "now":
            seen(ctx, about, ctx.now())
        case "random":
            seen(ctx, about, ctx.random().randrange(10**9))
        case "uuid":
            seen(ctx, about, ctx.uuid4())
        case "rollback":
            ctx.rollback()
        case "raise":
            raise Boom("the program says so")
        case _:
            return _PARTS[node["do"]](ctx, node, f"{about}/")
    return node["do"]


def _step(ctx: Context, node: Node) -> Any:
    undo = node.get("undo")
    body = generated_row if node["atomic"] else generated_step
    args = (node["n"], node["fails"], undo["fails"] if undo else 0)
    if undo is None:
        return ctx.step(node["id"], body, *args)
    return ctx.step(node["id"], body, *args, compensate=generated_undo_row if undo["atomic"] else generated_undo)


def _try(ctx: Context, node: Node, scope: str) -> Any:
    try:
        return _block(node["body"], f"{scope}body/", ctx)
    except (Boom, Refused, StepFailed, InvalidOptionError) as error:
        return [type(error).__name__, *_block(node["handler"], f"{scope}handler/", ctx)]
    except Cancelled:
        if node["cancelled"] == "pass":
            raise
        cleaned = _block(node["handler"], f"{scope}handler/", ctx)
        if node["cancelled"] == "clean":
            raise
        return ["Cancelled", *cleaned]


def _switch(ctx: Context, node: Node, scope: str) -> Any:
    branches = {name: partial(_block, block, f"{scope}{name}/") for name, block in node["cases"].items()}
    default = partial(_block, node["default"], f"{scope}default/") if node["default"] is not None else None
    return ctx.switch("way", node["value"], branches, default=default)


def _parallel(ctx: Context, node: Node, scope: str) -> Any:
    branches = {name: partial(_block, block, f"{scope}{name}/") for name, block in node["branches"].items()}
    if not node["settle"]:
        return ctx.parallel(branches)
    settled = ctx.parallel(branches, settle=True)
    return {name: each.value if each.is_ok else type(each.error).__name__ for name, each in settled.items()}


def _gather(ctx: Context, node: Node, scope: str) -> Any:
    return ctx.gather(*(partial(_block, block, f"{scope}{at}/") for at, block in enumerate(node["branches"])))


def _map(ctx: Context, node: Node, scope: str) -> Any:
    def each(ctx: Context, item: int) -> list[Any]:
        return _block(node["body"], f"{scope}{item}/", ctx)

    return ctx.map(each, range(node["items"]), concurrency=node["concurrency"])


_PARTS = {"try": _try, "switch": _switch, "parallel": _parallel, "gather": _gather, "map": _map}
