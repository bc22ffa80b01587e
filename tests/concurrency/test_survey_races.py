"""An execution that moves on while it is read is never reported as broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from django_durable import Context, client, workflow
from django_durable.engine import claims, heartbeat, survey, worker
from django_durable.engine.advance import advance
from django_durable.engine.survey import Finding, Verdict
from django_durable.models import Execution, Timer
from tests.concurrency.conftest import SCHEDULES
from tests.concurrency.interleaver import Act, interleaver

MOST = 1000  # orders; there are far fewer


@contextmanager
def _no_thread(claim: object) -> Iterator[None]:
    """A heartbeat by the clock would make an actor unpredictable."""
    yield


@pytest.mark.slow
def test_in_every_order_of_a_reader_and_a_worker_the_execution_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal is there before the wait, so nothing is ever swallowed.

    A history read before the signal is consumed, beside an inbox read after it, looks as if there were none: then the
    wait would park, and this code would swallow that.
    """
    monkeypatch.setattr(heartbeat, "keep", _no_thread)

    @workflow("survey.careless")
    def careless(ctx: Context) -> None:
        with suppress(BaseException):
            ctx.wait_for_signal("go")
        ctx.sleep(3600)

    def play() -> dict[str, Act]:
        Execution.objects.all().delete()
        run = careless.start()
        client.signal(run.id, "go", 1)
        claim = claims.take(run.id, using="default")
        assert claim is not None
        return {
            "reader": lambda: survey.look_at(run.id, using="default", is_live=True),
            "worker": lambda: advance(claim),
        }

    def judge(outcomes: dict[str, object]) -> list[str]:
        found, worked = outcomes["reader"], outcomes["worker"]
        wrong = [] if worked is None else [f"the worker failed: {worked!r}"]
        if not isinstance(found, Finding) or found.verdict is not Verdict.FITS:
            wrong.append(f"reported as {found!r}")
        if list(Execution.objects.values_list("status", flat=True)) != ["sleeping"]:
            wrong.append("does not sleep")
        return wrong

    with interleaver() as orders:
        explored = orders.explore(play, judge, most=MOST)

    SCHEDULES["reader x worker"] = explored
    assert explored.findings == []
    assert explored.is_complete
    assert explored.schedules >= 4


def test_one_that_ends_while_it_is_judged_is_no_live_one_any_more() -> None:
    is_old = True

    @workflow("survey.ending")
    def ending(ctx: Context) -> None:
        if is_old:
            ctx.sleep(3600)
        client.terminate(ctx.execution_id)
        ctx.note("other code")

    run = ending.start()
    worker.drain("default", using="default")
    is_old = False

    assert survey.look_at(run.id, using="default", is_live=True) is None
    found = survey.look_at(run.id, using="default", is_live=False)
    assert found is not None
    assert found.verdict is Verdict.STUCK


def test_one_that_is_deleted_meanwhile_is_passed_over() -> None:
    @workflow("survey.gone")
    def gone(ctx: Context) -> None:
        ctx.sleep(3600)

    runs = [gone.start() for _ in range(3)]
    ids = survey.live(using="default")
    assert next(ids) == runs[2].id
    Timer.objects.all().delete()
    Execution.objects.all().delete()

    assert [survey.look_at(run_id, using="default", is_live=True) for run_id in ids] == [None, None]
