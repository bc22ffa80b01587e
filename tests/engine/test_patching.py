"""patch_step and skip_step: what a person decides about one step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from django_durable import CodecError, ExecutionConflict, InvalidOptionError, Retry, client, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, declared
from django_durable.engine.advance import advance
from django_durable.models import AuditEntry, Execution, SetAsideStep, Status, Step, Timer

HOUR = timedelta(hours=1)


@step(retry=Retry(max_attempts=9, initial_seconds=3600.0, maximum_seconds=3600.0))
def price(item: str) -> int:
    raise ValueError(item)


@workflow("patching.flow")
def flow(ctx) -> Any:
    paid = ctx.step(price, "kettle", compensate=print)
    return [paid, ctx.wait_for_signal("go")]


@pytest.fixture
def retrying(durable):
    execution = flow.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=execution.id).status == Status.RETRYING
    return execution


def test_a_result_by_hand_ends_the_attempts(durable, retrying):
    client.patch_step(retrying, "price", 20, reason="asked them", actor="ada")
    durable.signal(retrying, "go", "now")
    assert client.result(retrying) == [20, "now"]
    (replaced,) = client.inspect(retrying).set_aside
    assert (replaced.step_id, replaced.status, replaced.set_aside_by) == ("price", "retrying", "step_patched")
    assert "ValueError: kettle" in replaced.error


def test_the_audit_trail_tells_no_payload(durable, retrying):
    client.patch_step(retrying, "price", 98765, actor="ada")
    entry = AuditEntry.objects.get(kind="step_patched")
    assert (entry.actor, entry.after) == ("ada", {"step": "price", "was": "retrying", "attempts": 1})
    assert "98765" not in json.dumps(entry.before)


def test_a_completed_step_has_its_new_result_in_the_next_replay(durable, retrying):
    client.patch_step(retrying, "price", 20)
    durable.run_until_idle()
    client.patch_step(retrying, 0, 30)
    durable.signal(retrying, "go", "now")
    assert client.result(retrying) == [30, "now"]
    assert [each.result for each in client.inspect(retrying).set_aside] == [None, 20]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda execution: client.patch_step(execution, "price", "20"), InvalidOptionError),
        (lambda execution: client.patch_step(execution, "price", object()), CodecError),
        (lambda execution: client.patch_step(execution, "prices", 20), ExecutionConflict),
        (lambda execution: client.skip_step(execution, "prices"), ExecutionConflict),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(durable, retrying, call, error):
    before = list(Step.objects.values_list())
    with pytest.raises(error):
        call(retrying)
    assert list(Step.objects.values_list()) == before
    assert not SetAsideStep.objects.exists()
    assert not AuditEntry.objects.exists()


def test_only_steps_have_results(durable, retrying):
    client.patch_step(retrying, "price", 20)
    durable.run_until_idle()
    with pytest.raises(InvalidOptionError, match="is a wait"):
        client.patch_step(retrying, "signal:go", 1)
    with pytest.raises(InvalidOptionError, match="is a wait"):
        client.skip_step(retrying, "signal:go")


def test_a_skipped_step_gives_none_and_is_not_undone(durable, retrying, capsys):
    client.skip_step(retrying, "price", reason="no price today")
    assert Step.objects.get().status == "skipped"
    durable.run_until_idle()
    client.cancel(retrying)
    durable.run_until_idle()
    assert Execution.objects.get(pk=retrying.id).status == Status.CANCELLED
    assert capsys.readouterr().out == ""
    assert not Step.objects.filter(kind="compensation").exists()


def test_a_skipped_step_is_none_in_the_workflow(durable, retrying):
    client.skip_step(retrying, "price")
    with pytest.raises(ExecutionConflict, match="is skipped already"):
        client.skip_step(retrying, "price")
    durable.signal(retrying, "go", "now")
    assert client.result(retrying) == [None, "now"]


def test_a_paused_one_stays_paused(durable, retrying):
    client.pause(retrying)
    client.patch_step(retrying, "price", 20)
    durable.run_until_idle()
    assert Execution.objects.get(pk=retrying.id).status == Status.PAUSED
    client.resume(retrying)
    durable.signal(retrying, "go", "now")
    assert client.result(retrying) == [20, "now"]


@pytest.mark.parametrize(
    "decide", [lambda e: client.patch_step(e, "price", 20), lambda e: client.skip_step(e, "price")]
)
def test_a_worker_beyond_its_lease_records_nothing_over_the_decision(durable, retrying, decide):
    Timer.objects.update(due_at=DatabaseNow())
    claim = claims.take(retrying.id, using="default")
    with pytest.raises(ExecutionConflict, match="at this moment"):
        decide(retrying)
    Timer.objects.update(due_at=DatabaseNow())  # the lease has run out
    decide(retrying)
    decided = Step.objects.values_list("status", "result", "attempts").get()
    advance(claim)
    assert Step.objects.values_list("status", "result", "attempts").get() == decided


def test_a_result_may_replace_the_failure_that_code_is_stuck_behind(durable):
    @workflow("patching.stuck")
    def stuck(ctx):
        paid = ctx.step("pay", str, 1)
        if paid == "1":
            ctx.step("ship", str, 2)
        ctx.wait_for_signal("go")

    execution = stuck.start()
    durable.run_until_idle()
    client.patch_step(execution, "pay", "0")
    durable.run_until_idle()
    assert Execution.objects.get(pk=execution.id).status == Status.STUCK
    client.retry(execution, from_step="ship")
    durable.run_until_idle()
    assert Execution.objects.get(pk=execution.id).status == Status.WAITING


@dataclass
class Paid:
    by: str


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, 1, "1"),
        (float, 1, "1"),
        (None, None, 1),
        (int | None, None, "1"),
        (list[int], [1], (1,)),
        (Paid, Paid("card"), {"by": "card"}),
        (Any, object(), ...),
    ],
)
def test_a_value_is_compared_with_what_is_declared(hint, good, bad):
    assert declared.fits(good, hint)
    assert bad is ... or not declared.fits(bad, hint)
