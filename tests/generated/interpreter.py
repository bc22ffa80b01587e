"""The workflow that runs a generated program, and its step bodies, each of which tells the ledger."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django_durable import Cancelled, ChildFailed, ChildNotEndedError, Context, StepFailed, current_step, workflow
from django_durable.definitions import BoundWorkflow
from django_durable.exceptions import InvalidOptionError, LoopLimitError
from django_durable.parts import Child
from django_durable.retry import Retry
from tests.generated.programs import Block, Node
from tests.ledger_app import ledger
from tests.ledger_app.programs import Broken, Refused, effect, insert, seen, witnessed

ATTEMPTS = 3
RETRIED = Retry(max_attempts=ATTEMPTS, initial_seconds=1, jitter=0)


class Boom(Exception):
    """Raised by the program itself."""


CAUGHT = (Boom, Refused, StepFailed, InvalidOptionError, ChildFailed, ChildNotEndedError, LoopLimitError)


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


@workflow("generated.tolerant", on_change="tolerate")
def tolerant(ctx: Context, tree: Block) -> list[Any]:
    return _block(tree, "", ctx)


WORKFLOWS = {"program": program, "leaving": leaving, "tolerant": tolerant}


def put(state: dict[str, Any], value: int) -> int:
    state["k"] = value
    return value


for each in WORKFLOWS.values():
    each.update("put")(put)


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
        case "emit":
            ctx.emit("generated.told", node["n"])
        case "now":
            seen(ctx, about, ctx.now())
        case "random":
            seen(ctx, about, ctx.random().randrange(10**9))
        case "uuid":
            seen(ctx, about, ctx.uuid4())
        case "rollback":
            ctx.rollback()
        case "token":
            text = seen(ctx, about, ctx.signal_token(node["name"], expires=node["expires"]))
            ledger.current().write("token", ctx.execution_id, text=text, name=node["name"])
        case "change":
            return _change(ctx, node, about)
        case "until":
            least = node["least"]
            return ctx.wait_until(lambda state: state.get("k", 0) >= least, timeout=node["timeout"])
        case "long":
            return seen(ctx, about, ctx.should_continue_as_new)
        case "raise":
            raise Boom("the program says so")
        case "continue":
            ctx.continue_as_new(node["body"])
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


def _change(ctx: Context, node: Node, about: str) -> Any:
    before = seen(ctx, about, ctx.state.get("k"))
    if node["replaces"]:
        ctx.state.replace({"k": node["value"]})
    else:
        ctx.state.set(k=node["value"])
    return [before, ctx.state["k"]]


def _try(ctx: Context, node: Node, scope: str) -> Any:
    try:
        return _block(node["body"], f"{scope}body/", ctx)
    except CAUGHT as error:
        return [type(error).__name__, *_block(node["handler"], f"{scope}handler/", ctx)]
    except Cancelled:
        if node["cancelled"] == "pass":
            raise
        cleaned = _block(node["handler"], f"{scope}handler/", ctx)
        if node["cancelled"] == "clean":
            raise
        return ["Cancelled", *cleaned]


def _switch(ctx: Context, node: Node, scope: str) -> Any:
    default = partial(_block, node["default"], f"{scope}default/") if node["default"] is not None else None
    return ctx.switch("way", node["value"], _named(node["cases"], scope), default=default)


def _named(blocks: dict[str, Block], scope: str) -> dict[str, Any]:
    return {name: partial(_block, block, f"{scope}{name}/") for name, block in blocks.items()}


def _parallel(ctx: Context, node: Node, scope: str) -> Any:
    branches = _named(node["branches"], scope)
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


def _race(ctx: Context, node: Node, scope: str) -> Any:
    return seen(ctx, scope, list(ctx.race(_named(node["branches"], scope))))


def _wait_any(ctx: Context, node: Node, scope: str) -> Any:
    came = ctx.wait_any(_awaited(ctx, node, scope), timeout=node["timeout"])
    return seen(ctx, scope, None if came is None else list(came))


def _wait_all(ctx: Context, node: Node, scope: str) -> Any:
    return seen(ctx, scope, ctx.wait_all(_awaited(ctx, node, scope), timeout=node["timeout"]))


def _awaited(ctx: Context, node: Node, scope: str) -> dict[str, Any]:
    awaited = {name: _awaitable(name, block, scope) for name, block in node["awaited"].items()}
    return awaited if node["child"] is None else {**awaited, "c": _start(ctx, node["child"])}


def _awaitable(name: str, block: Block, scope: str) -> Any:
    match name:
        case "s":
            return block[0]["name"]
        case "t":
            return timedelta(seconds=block[0]["seconds"])
    return partial(_block, block, f"{scope}{name}/")


def _loop(ctx: Context, node: Node, scope: str) -> Any:
    def go_round(ctx: Context, before: list[Any] | None) -> list[Any]:
        number = len(before or ())
        return [*(before or ()), _block(node["body"], f"{scope}{number}/", ctx)]

    return ctx.loop("loop", lambda done: len(done or ()) < node["rounds"], go_round, max_iterations=node["most"])


def _patched(ctx: Context, node: Node, scope: str) -> Any:
    """Before the deploy there was only the old way."""
    if not ledger.current().is_deployed:
        return _block(node["old"], f"{scope}old/", ctx)
    patch = f"p{node['n']}"
    way = "new" if ctx.patched(patch) else "old"
    done = _block(node[way], f"{scope}{way}/", ctx)
    assert ctx.patched(patch) == (way == "new")
    return done


def _child(ctx: Context, node: Node, scope: str) -> Any:
    child = _start(ctx, node)
    between = _block(node["between"], f"{scope}between/", ctx)
    if not node["waits"]:
        return between
    return seen(ctx, scope, [between, ctx.wait_for_execution(child, timeout=node["timeout"])])


def _start(ctx: Context, node: Node) -> Child:
    return ctx.start_child(node["id"], _chosen(node), node["body"])


def _chosen(node: Node) -> BoundWorkflow[..., Any]:
    return WORKFLOWS[node["workflow"]].using(on_parent_close=node["policy"], timeout=node["deadline"])


def _fan(ctx: Context, node: Node, scope: str) -> Any:
    if not node["settle"]:
        return seen(ctx, scope, list(ctx.map(_chosen(node), node["items"], concurrency=node["limit"])))
    settled = ctx.map(_chosen(node), node["items"], concurrency=node["limit"], settle=True)
    return seen(ctx, scope, [each.value if each.is_ok else type(each.error).__name__ for each in settled])


_PARTS = {
    "try": _try,
    "switch": _switch,
    "parallel": _parallel,
    "gather": _gather,
    "map": _map,
    "race": _race,
    "wait_any": _wait_any,
    "wait_all": _wait_all,
    "loop": _loop,
    "patched": _patched,
    "child": _child,
    "fan": _fan,
}
