"""Drawn programs that change, read and wait for the state in all kinds of parts, while updates come and workers die.

Whatever happens: at one place in the code every run sees the same state, the code ends with what a query shows, and
each update is answered once.
"""

import random
from datetime import timedelta

import pytest

from django_durable import client, workflow
from django_durable.engine import advance as passes
from django_durable.engine.journal import Journal
from django_durable.exceptions import ExecutionClosedError, UpdateFailed
from django_durable.models import Signal, Step, Timer
from tests.authoring import Killed, no_op

SEEDS = range(30)
NAMES = ("a", "b", "c")


def drawn(chance, depth=0):
    """A list of operations; a part has programs of its own."""
    kinds = ["set", "look", "look", "step", "wait", "sleep", "until", "replace"]
    kinds += ["parallel", "race", "switch"] if depth < 2 else []
    return [_operation(chance, chance.choice(kinds), depth) for _ in range(chance.randint(2, 5 - depth))]


def _operation(chance, kind, depth):
    if kind in ("parallel", "race"):
        return kind, {name: drawn(chance, depth + 1) for name in NAMES[: chance.randint(1, 3)]}
    if kind == "switch":
        return kind, drawn(chance, depth + 1)
    return kind, (chance.choice(NAMES), chance.randrange(100))


class Interpreter:
    def __init__(self):
        self.looks = {}

    def run(self, ctx, program, place=""):
        for number, (kind, what) in enumerate(program):
            here = f"{place}/{number}"
            self.look(ctx, f"{here} before")
            self.operate(ctx, kind, what, here)
            self.look(ctx, f"{here} behind")

    def look(self, ctx, place):
        self.looks.setdefault(place, []).append(dict(ctx.state))

    def operate(self, ctx, kind, what, here):
        if kind in ("parallel", "race"):
            getattr(ctx, kind)(
                {
                    name: lambda ctx, name=name, part=part: self.run(ctx, part, f"{here}/{name}")
                    for name, part in what.items()
                }
            )
        elif kind == "switch":
            ctx.switch("way", 1, {}, default=lambda ctx: self.run(ctx, what, here))
        elif kind == "set":
            ctx.state.set(**{what[0]: [here, what[1]]})
        elif kind == "replace":
            ctx.state.replace(
                {what[0]: here} | ({"answered": ctx.state["answered"]} if "answered" in ctx.state else {})
            )
        elif kind == "step":
            ctx.step(no_op)
        elif kind == "wait":
            ctx.wait_for_signal("go", timeout=30 + what[1])
        elif kind == "sleep":
            ctx.sleep(what[1])
        elif kind == "until":
            ctx.wait_until(lambda state: state.get("sum", 0) > what[1] / 20, timeout=50)


def a_workflow(program, interpreter, on_change):
    @workflow("drawn", on_change=on_change)
    def flow(ctx):
        interpreter.run(ctx, program)
        return dict(ctx.state)

    @flow.update("add")
    def add(state, number):
        state["sum"] = state.get("sum", 0) + number
        state["answered"] = [*state.get("answered", []), number]
        if number % 7 == 0:
            raise ArithmeticError
        return number

    @flow.query("state")
    def state(state):
        return state

    return flow


def deaths(chance, patch):
    """A worker may die right before or after it records something, or before it parks."""

    def mortal(real):
        def call(*given, **named):
            fate = chance.random()
            if fate < 0.03:
                raise Killed
            value = real(*given, **named)
            if fate > 0.97:
                raise Killed
            return value

        return call

    patch.setattr(Journal, "_durably", mortal(Journal._durably))
    patch.setattr(passes, "_park", mortal(passes._park))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_run_sees_the_same(durable, monkeypatch, seed):
    chance = random.Random(seed)
    interpreter = Interpreter()
    flow = a_workflow(drawn(chance), interpreter, "tolerate" if seed % 3 == 0 else "park")
    execution = flow.start()
    deaths(chance, monkeypatch)

    asked = {}
    for number in range(1, 400):
        event = chance.random()
        try:
            if event < 0.3:
                asked[number] = client.send_update(execution, "add", number)
            elif event < 0.6:
                client.signal(execution, "go")
            elif event < 0.7:
                Timer.objects.filter(pk=execution.id).bump()
            durable.advance(timedelta(seconds=chance.choice([0, 0, 1, 20])))
        except Killed:
            durable.clock.move_to(durable.clock.now() + timedelta(minutes=1))
        except ExecutionClosedError:
            break
    monkeypatch.undo()
    durable.advance(timedelta(days=1))

    found = durable.inspect(execution)
    assert found.status == "completed", (found.stuck_reason, found.error)
    for place, seen in interpreter.looks.items():
        assert all(each == seen[0] for each in seen), (place, seen)
    assert found.result == client.query(execution, "state")
    answered = [number for number in asked if _reply(execution, asked[number]) == number]
    consumed = Signal.objects.filter(execution_id=execution.id, name="update/add").exclude(consumed_by="")
    assert consumed.count() == Step.objects.filter(execution_id=execution.id, kind="update").count()
    if "answered" in found.result:  # a branch may have replaced it by what it saw
        assert set(found.result["answered"]) <= set(answered)


def _reply(execution, asked):
    try:
        return client.update_result(execution, asked)
    except (UpdateFailed, ExecutionClosedError):
        return None
