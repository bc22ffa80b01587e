"""Every history that any release recorded is replayed by today's code, to the end that it had."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from django_durable import UpdateFailed, client, workflow
from django_durable.definitions import registry
from django_durable.engine import payloads
from django_durable.models import Execution
from django_durable.testing import DurableKit, export_history, replay
from tests.replay import samples

ROOT = Path(__file__).resolve().parents[2]
HISTORIES = Path(__file__).parent / "histories"
CURRENT = HISTORIES / "0.1"
FILES = sorted(HISTORIES.glob("*/*.json"))
ENDS = {
    "completed": "returned",
    "failed": "raised",
    "cancelled": "raised",
    "timed_out": "raised",
    "continued": "continued",
}


def _order(durable: DurableKit) -> Any:
    execution = samples.order.start(2, rush=True)
    durable.run_until_idle()
    durable.advance(timedelta(hours=2))
    durable.signal(execution, "approved", {"by": "ada"})
    return execution


def _timeout(durable: DurableKit) -> Any:
    execution = samples.timeout.start()
    durable.advance(timedelta(minutes=2))
    return execution


def _cancelled(durable: DurableKit) -> Any:
    execution = samples.cancelled.start()
    durable.run_until_idle()
    client.cancel(execution)
    durable.run_until_idle()
    return execution


def _deadline(durable: DurableKit) -> Any:
    execution = samples.cancelled.using(timeout=60).start()
    durable.advance(timedelta(minutes=2))
    return execution


def _saga(durable: DurableKit) -> Any:
    execution = samples.saga.start()
    for _ in range(3):
        durable.advance(timedelta(hours=2))
        durable.run_until_idle()
    return execution


def _branches(durable: DurableKit) -> Any:
    execution = samples.branches.start("left")
    durable.run_until_idle()
    durable.signal(execution, "approved", {"by": "ada"})
    durable.advance(timedelta(hours=2))
    durable.run_until_idle()
    return execution


def _coroutines(durable: DurableKit) -> Any:
    execution = samples.coroutines.start()
    durable.advance(timedelta(hours=4))
    return execution


def _parent(durable: DurableKit) -> Any:
    execution = samples.parent.start()
    durable.run_until_idle()
    durable.advance(timedelta(hours=1))
    durable.run_until_idle()
    durable.signal(Execution.objects.get(workflow="samples.child"), "go", 41)
    durable.run_until_idle()
    return execution


def _state(durable: DurableKit) -> Any:
    execution = samples.state.start()
    durable.run_until_idle()
    with suppress(UpdateFailed):
        durable.update(execution, "add", "stone")
    for item in ("pear", "plum"):
        durable.update(execution, "add", item)
    durable.signal(execution, "go")
    durable.advance(timedelta(minutes=2))
    return execution


def _mapped(durable: DurableKit) -> Any:
    execution = samples.mapped.start()
    durable.run_until_idle()
    for each in Execution.objects.filter(workflow="samples.child"):
        durable.signal(each, "go", 40)
    return execution


def _retried(durable: DurableKit) -> Any:
    execution = samples.retried.start()
    durable.advance(timedelta(hours=2))
    assert client.get(execution).compensated
    samples.mended.add("it")
    client.retry(execution)
    durable.advance(timedelta(hours=2))
    samples.mended.clear()
    return execution


def _going_back(durable: DurableKit) -> Any:
    execution = samples.going_back.start()
    durable.run_until_idle()
    client.retry(execution, from_step="car", compensate=True)
    durable.run_until_idle()
    assert client.get(execution).stuck_reason == "compensation"
    return execution


def _forked(durable: DurableKit) -> Any:
    original = samples.forked.start()
    durable.run_until_idle()
    execution = client.fork(original, "signal:go", patch={"car": "a bus"})
    durable.signal(execution, "go", 7)
    return execution


def _token(durable: DurableKit) -> Any:
    execution = samples.token.start()
    durable.run_until_idle()
    durable.signal(execution, "approved", {"by": "ada"})
    return execution


def _emits(durable: DurableKit) -> Any:
    execution = samples.emits.start()
    durable.advance(timedelta(hours=2))
    return execution


def _patched(durable: DurableKit) -> Any:
    execution = samples.patched.start()
    durable.run_until_idle()
    durable.signal(execution, "go")
    return execution


def _changed(current: Any, before: Any) -> Any:
    """Parked by the code before, ended by today's."""

    def play(durable: DurableKit) -> Any:
        del registry._versions[current.name]
        execution = workflow(current.name, on_change=current.on_change)(before).start()
        durable.run_until_idle()
        registry._versions[current.name] = {1: current}
        durable.signal(execution, "go")
        return execution

    return play


def _tolerated_parts(durable: DurableKit) -> Any:
    execution = _changed(samples.tolerant_parts, samples.before_the_inserts)(durable)
    durable.advance(timedelta(minutes=2))
    return execution


def _started(workflow: Any, *args: Any) -> Any:
    def play(durable: DurableKit) -> Any:
        execution = workflow.start(*args)
        durable.run_until_idle()
        return execution

    return play


def _looped(durable: DurableKit) -> Any:
    execution = samples.looped.start()
    durable.advance(timedelta(minutes=20))
    durable.signal(execution, "approved", {"by": "ada"})
    durable.advance(timedelta(minutes=10))
    durable.run_until_idle()
    return execution


def _continued(durable: DurableKit) -> Any:
    execution = samples.continued.start(1)
    durable.signal(execution, "go", "yes")
    return execution


STORIES = {
    "looped": _looped,
    "continued": _continued,
    "every_value": _started(samples.every_value),
    "order": _order,
    "timeout": _timeout,
    "errors": _started(samples.errors),
    "fails": _started(samples.fails),
    "cancelled": _cancelled,
    "deadline": _deadline,
    "token": _token,
    "state": _state,
    "emits": _emits,
    "branches": _branches,
    "coroutines": _coroutines,
    "parent": _parent,
    "mapped": _mapped,
    "branches_open": _started(samples.branches, "right"),
    "open": _started(samples.open_),
    "patched": _patched,
    "patched_later": _changed(samples.patched, samples.before_the_patch),
    "tolerated": _changed(samples.tolerant, samples.before_the_insert),
    "tolerated_parts": _tolerated_parts,
    "saga": _saga,
    "rolled_back": _started(samples.rolled_back),
    "retried": _retried,
    "going_back": _going_back,
    "forked": _forked,
}


@pytest.mark.parametrize("name", STORIES)
def test_what_is_recorded_today_fits_today(durable: DurableKit, name: str) -> None:
    execution = STORIES[name](durable)
    recorded = {**export_history(execution), "result": _result(execution)}

    if os.environ.get("DURABLE_RECORD_HISTORIES"):
        CURRENT.mkdir(parents=True, exist_ok=True)
        text = json.dumps(recorded, indent=1) + "\n"
        (CURRENT / f"{name}.json").write_text(text.replace(f"{ROOT}/", ""))  # tracebacks tell where they were recorded

    _assert_fits(json.loads(json.dumps(recorded)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_what_was_recorded_still_fits(file: Path) -> None:
    _assert_fits(json.loads(file.read_text()))


def test_each_story_was_recorded() -> None:
    assert {file.stem for file in CURRENT.glob("*.json")} == set(STORIES)


def _result(execution: Any) -> str | None:
    stored = client.get(execution).result
    return None if stored is None else payloads.unseal(stored)


def _assert_fits(recorded: dict[str, Any]) -> None:
    report = replay(recorded)

    assert report.fits, report.mismatch
    assert report.end == ENDS.get(recorded["status"], "open")
    if report.end == "returned":
        expected = payloads.load(payloads.seal(recorded["result"]))
        assert (report.value, _types(report.value)) == (expected, _types(expected))


def _types(value: Any) -> Any:
    """The shape of a value by type; 1 == True == Decimal(1) hides what changed."""
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_types, value)]
    return type(value).__name__
