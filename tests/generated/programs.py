"""Drawing programs: lists of nodes as JSON, bounded in depth and size; and making failing ones smaller.

Each node has a number ``n`` of its own, by which values are witnessed. Step ids come from a few names, so that
repeats, which are numbered, are common.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

Node = dict[str, Any]
Block = list[Node]
SIGNALS = ("go", "stop")
DEEPEST = 3
MOST_GENERATIONS = 2  # that go on as new


def draw(seed: int) -> Block:
    """The program of a seed."""
    return _Drawer(random.Random(f"program {seed}")).program()


class _Drawer:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.numbers = count()
        self.left = chance.choice((2, 4, 6, 10))  # nodes
        self.is_beside_others = False  # where one cannot go on as new
        self.generations = MOST_GENERATIONS

    def program(self) -> Block:
        block = self.block(0, at_most=6)
        if self.chance.random() < 0.3:
            block.append(self.made("raise"))
        return block

    def block(self, depth: int, *, at_most: int = 3) -> Block:
        return [self.node(depth) for _ in range(self.chance.randint(1, at_most)) if self.left > 0]

    def branch(self, depth: int) -> Block:
        """Begins with a durable call, so that the history tells whether it was entered."""
        with self.beside(True):
            first = self.chance.choice((self.step, partial(self.made, "note")))()
            if self.chance.random() < 0.4:  # so that the others often find one waiting
                return [first, self.chance.choice((self.sleep, self.wait))(), *self.block(depth, at_most=2)]
            return [first, *self.block(depth, at_most=2)]

    @contextmanager
    def beside(self, is_beside: bool) -> Iterator[None]:
        before, self.is_beside_others = self.is_beside_others, is_beside
        yield
        self.is_beside_others = before

    def node(self, depth: int) -> Node:
        simple = [
            (self.step, 10),
            (self.refuse, 2),
            (self.sleep, 3),
            (self.wait, 4),
            (self.fact, 4),
            (self.rollback, 1),
        ]
        simple += [(self.fail, 1), (self.once, 1), (self.token, 2), (self.change, 2), (self.until, 2), (self.long, 2)]
        if not self.is_beside_others and self.generations:
            simple += [(self.go_on, 2)]
        nested = [(self.attempt, 4), (self.switch, 2), (self.parallel, 5), (self.gather, 2), (self.map, 3)]
        nested += [(self.race, 4), (self.wait_any, 2), (self.wait_all, 2), (self.loop, 2), (self.patched, 2)]
        nested += [(self.child, 4), (self.fan, 2)]
        makers = simple if depth >= DEEPEST else simple + nested
        self.left -= 1
        make = self.chance.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
        return make(depth + 1) if make in {maker for maker, _ in nested} else make()

    def made(self, do: str, **facts: Any) -> Node:
        return {"n": next(self.numbers), "do": do, **facts}

    # -- without parts ---------------------------------------------------------------------------------

    def step(self) -> Node:
        fails = self.chance.choices((0, 1, 2, 3), (12, 2, 1, 1))[0]  # 3: more often than there are attempts
        node = self.made("step", id=self.chance.choice("abc"), atomic=self.chance.random() < 0.4, fails=fails)
        if self.chance.random() < 0.5:
            undo_fails = self.chance.choices((0, 1, 3), (8, 2, 1))[0]
            node["undo"] = {"atomic": self.chance.random() < 0.4, "fails": undo_fails}
        return node

    def once(self) -> Node:
        return self.made("once", id=self.chance.choice("abc"))

    def refuse(self) -> Node:
        return self.made("refuse", id=self.chance.choice("abc"))

    def sleep(self) -> Node:
        return self.made("sleep", seconds=self.chance.choice((0, 1, 3, 8)))

    def wait(self) -> Node:
        return self.made("wait", name=self.chance.choice(SIGNALS), timeout=self.timeout())

    def timeout(self) -> int | None:
        return self.chance.choice((None, 0, 2, 5))

    def fact(self) -> Node:
        return self.made(self.chance.choice(("note", "now", "emit", "random", "uuid")))

    def rollback(self) -> Node:
        return self.made("rollback")

    def fail(self) -> Node:
        return self.made("raise")

    def token(self) -> Node:
        return self.made("token", name=self.chance.choice(SIGNALS), expires=self.chance.choice((1, 1000)))

    def change(self) -> Node:
        return self.made("change", value=self.chance.choice((0, 1, 2)), replaces=self.chance.random() < 0.3)

    def until(self) -> Node:
        return self.made("until", least=self.chance.choice((1, 2, 9)), timeout=self.timeout())

    def long(self) -> Node:
        return self.made("long")

    def go_on(self) -> Node:
        """As a new execution, with a program of its own; what comes after it in this one is never reached."""
        self.generations -= 1
        return self.made("continue", body=self.block(1, at_most=3))

    # -- with parts ------------------------------------------------------------------------------------

    def attempt(self, depth: int) -> Node:
        cancelled = self.chance.choice(("pass", "clean", "swallow"))
        return self.made("try", body=self.block(depth), handler=self.block(depth, at_most=2), cancelled=cancelled)

    def switch(self, depth: int) -> Node:
        cases = {name: self.block(depth) for name in ("x", "y")}
        default = self.block(depth) if self.chance.random() < 0.5 else None
        return self.made("switch", value=self.chance.choice("xyz"), cases=cases, default=default)

    def parallel(self, depth: int) -> Node:
        return self.made("parallel", settle=self.chance.random() < 0.3, branches=self.branches(depth))

    def branches(self, depth: int) -> dict[str, Block]:
        return {name: self.branch(depth) for name in "lmr"[: self.chance.randint(2, 3)]}

    def gather(self, depth: int) -> Node:
        return self.made("gather", branches=[self.branch(depth), self.branch(depth)])

    def map(self, depth: int) -> Node:
        limit = self.chance.choice((None, 1, 2))
        return self.made("map", items=self.chance.randint(0, 3), concurrency=limit, body=self.branch(depth))

    def race(self, depth: int) -> Node:
        return self.made("race", branches=self.branches(depth))

    def wait_any(self, depth: int) -> Node:
        return self.made("wait_any", awaited=self.awaited(depth), timeout=self.timeout(), child=self.kid(depth))

    def wait_all(self, depth: int) -> Node:
        return self.made("wait_all", awaited=self.awaited(depth), timeout=self.timeout(), child=self.kid(depth))

    def awaited(self, depth: int) -> dict[str, Block]:
        """Blocks of one wait, or branches."""
        made = {"s": [{**self.wait(), "timeout": None}], "t": [self.sleep()], "b": self.branch(depth)}
        names = sorted(self.chance.sample("stb", self.chance.randint(1, 3)), key=lambda _: self.chance.random())
        return {name: made[name] for name in names}

    def kid(self, depth: int) -> Node | None:
        """A child that is waited for beside the others."""
        return self.child(depth) if self.chance.random() < 0.4 else None

    def loop(self, depth: int) -> Node:
        rounds, most = self.chance.choice(((0, 3), (1, 3), (2, 3), (2, 1)))
        return self.made("loop", rounds=rounds, most=most, body=self.block(depth, at_most=2))

    def patched(self, depth: int) -> Node:
        return self.made("patched", new=self.block(depth, at_most=2), old=self.block(depth, at_most=2))

    def child(self, depth: int) -> Node:
        with self.beside(False):
            body = self.block(depth)
        return self.made(
            "child",
            id=self.chance.choice("kc"),
            workflow=self.chance.choices(("program", "leaving", "tolerant"), (8, 1, 2))[0],
            policy=self.chance.choice(("cancel", "abandon", "wait")),
            deadline=self.chance.choices((None, 2, 6), (6, 1, 1))[0],
            body=body,
            between=self.block(depth, at_most=1) if self.chance.random() < 0.4 else [],
            waits=self.chance.random() < 0.7,
            timeout=self.chance.choices((None, 0, 2, 5), (6, 1, 1, 1))[0],
        )

    def fan(self, depth: int) -> Node:
        """A child for each item."""
        like = self.child(depth)
        with self.beside(False):
            items = [like["body"], *(self.block(depth, at_most=2) for _ in range(self.chance.choice((0, 1, 2))))]
        return self.made(
            "fan",
            **{name: like[name] for name in ("workflow", "policy", "deadline")},
            items=items if self.chance.random() < 0.9 else [],
            settle=self.chance.random() < 0.3,
            limit=self.chance.choice((None, 1, 2)),
        )


# -- shrinking -----------------------------------------------------------------------------------------


def smaller(program: Block) -> Iterator[Block]:
    """Each program that lacks one node of this one, or has a node's part in its place."""
    for path in _places(program):
        without = copy.deepcopy(program)
        block, index = _at(without, path)
        node = block.pop(index)
        yield without
        for part in _parts(node):
            put = copy.deepcopy(without)
            _at(put, path)[0][index:index] = copy.deepcopy(part)
            yield put


def _parts(node: Node) -> list[Block]:
    parts = [node[name] for name in ("body", "handler", "between", "new", "old") if name in node]
    if node.get("default") is not None:
        parts.append(node["default"])
    if node.get("child") is not None:
        parts.append(node["child"]["body"])
    for name in ("cases", "branches", "awaited", "items"):
        found = node.get(name, [])
        if isinstance(found, int):  # of a map
            continue
        parts += found.values() if isinstance(found, dict) else found
    return parts


def _places(block: Block, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    for index, node in enumerate(block):
        yield (*path, index)
        for number, part in enumerate(_parts(node)):
            yield from _places(part, (*path, index, number))


def _at(block: Block, path: tuple[int, ...]) -> tuple[Block, int]:
    while len(path) > 1:
        block, path = _parts(block[path[0]])[path[1]], path[2:]
    return block, path[0]
