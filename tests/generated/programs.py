"""Drawing programs: lists of nodes as JSON, bounded in depth and size; and making failing ones smaller.

Each node has a number ``n`` of its own, by which values are witnessed. Step ids come from a few names, so that
repeats, which are numbered, are common.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

Node = dict[str, Any]
Block = list[Node]
SIGNALS = ("go", "stop")
DEEPEST = 3


def draw(seed: int) -> Block:
    """The program of a seed."""
    return _Drawer(random.Random(f"program {seed}")).program()


class _Drawer:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.numbers = count()
        self.left = chance.choice((3, 5, 8, 12))  # nodes

    def program(self) -> Block:
        block = self.block(0, at_most=6)
        if self.chance.random() < 0.3:
            block.append(self.made("raise"))
        return block

    def block(self, depth: int, *, at_most: int = 3) -> Block:
        return [self.node(depth) for _ in range(self.chance.randint(1, at_most)) if self.left > 0]

    def branch(self, depth: int) -> Block:
        """Begins with a durable call, so that the history tells whether it was entered."""
        first = self.chance.choice((self.step, partial(self.made, "note")))()
        if self.chance.random() < 0.4:  # so that the others often find one waiting
            return [first, self.chance.choice((self.sleep, self.wait))(), *self.block(depth, at_most=2)]
        return [first, *self.block(depth, at_most=2)]

    def node(self, depth: int) -> Node:
        simple = [
            (self.step, 10),
            (self.refuse, 2),
            (self.sleep, 3),
            (self.wait, 4),
            (self.fact, 3),
            (self.rollback, 1),
        ]
        simple += [(self.fail, 1), (self.once, 1)]
        nested = [(self.attempt, 4), (self.switch, 2), (self.parallel, 5), (self.gather, 2), (self.map, 3)]
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
        return self.made("wait", name=self.chance.choice(SIGNALS), timeout=self.chance.choice((None, 0, 2, 5)))

    def fact(self) -> Node:
        return self.made(self.chance.choice(("note", "now", "random", "uuid")))

    def rollback(self) -> Node:
        return self.made("rollback")

    def fail(self) -> Node:
        return self.made("raise")

    # -- with parts ------------------------------------------------------------------------------------

    def attempt(self, depth: int) -> Node:
        cancelled = self.chance.choice(("pass", "clean", "swallow"))
        return self.made("try", body=self.block(depth), handler=self.block(depth, at_most=2), cancelled=cancelled)

    def switch(self, depth: int) -> Node:
        cases = {name: self.block(depth) for name in ("x", "y")}
        default = self.block(depth) if self.chance.random() < 0.5 else None
        return self.made("switch", value=self.chance.choice("xyz"), cases=cases, default=default)

    def parallel(self, depth: int) -> Node:
        branches = {name: self.branch(depth) for name in "lmr"[: self.chance.randint(2, 3)]}
        return self.made("parallel", settle=self.chance.random() < 0.3, branches=branches)

    def gather(self, depth: int) -> Node:
        return self.made("gather", branches=[self.branch(depth), self.branch(depth)])

    def map(self, depth: int) -> Node:
        limit = self.chance.choice((None, 1, 2))
        return self.made("map", items=self.chance.randint(0, 3), concurrency=limit, body=self.branch(depth))


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
    parts = [node[name] for name in ("body", "handler") if name in node]
    if "default" in node and node["default"] is not None:
        parts.append(node["default"])
    for name in ("cases", "branches"):
        found = node.get(name, [])
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
