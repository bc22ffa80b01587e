"""Every database call of every story is a place to die."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from django_durable import client
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict
from django_durable.models import Delivery, Execution
from tests.crash.sweep import Play, RolledBack, Scenario, Sweep, least, work
from tests.ledger_app import programs
from tests.ledger_app.receivers import receiving

pytestmark = [
    pytest.mark.slow,
    # The watchdog of faulthandler is a thread; it runs no Python code and holds no lock.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def start(play: Play) -> None:
    play.start()


def start_twice(play: Play) -> None:
    """One process asks twice, as a view does when a form is sent twice."""
    play.start()
    play.start()


def start_in_a_larger_transaction(play: Play) -> None:
    with transaction.atomic():
        play.scenario.workflow.using(key=play.key).start(*play.scenario.args)
        programs.LedgerRow.objects.filter(step="not there").delete()


def start_and_roll_back(play: Play) -> None:
    play.ledger.never_started(workflow=play.scenario.workflow.name, key=play.key)
    try:
        with transaction.atomic():
            play.scenario.workflow.using(key=play.key).start(*play.scenario.args)
            raise RolledBack
    except RolledBack:
        pass


def answer(payload: object) -> partial[None]:
    return partial(_answer, payload=payload)


def _answer(play: Play, payload: object) -> None:
    play.send("answer", payload, signal_id=f"answer {payload}")


def last(play: Play) -> None:
    play.send("last", "bye", signal_id="last")


def answer_with_start(payload: object) -> partial[None]:
    return partial(_answer_with_start, payload=payload)


def _answer_with_start(play: Play, payload: object) -> None:
    play.send_with_start("answer", payload, signal_id=f"answer {payload}")


def answer_by_token(play: Play) -> None:
    play.redeem("answer", "yes")


def ask(number: int) -> partial[None]:
    return partial(Play.ask, number=number)


def reply(number: int) -> partial[None]:
    return partial(Play.reply, number=number)


def query(wanted: object) -> partial[None]:
    return partial(_query, wanted=wanted)


def _query(play: Play, wanted: object) -> None:
    play.finish()
    assert client.query(play.execution_id, "state") == wanted


def cancel(play: Play) -> None:
    try:
        client.cancel(play.execution_id, reason="asked to")
    except ExecutionClosedError:
        assert client.latest(play.execution_id).status == "cancelled"


def terminate(play: Play) -> None:
    try:
        client.terminate(play.execution_id, reason="asked to")
    except ExecutionClosedError:
        assert Execution.objects.get(pk=play.execution_id).status == "terminated"


def help_along(decide: Callable[..., None], play: Play) -> None:
    """A person decides about a compensation once it has given up; asked again, the first decision counts."""
    play.finish()
    try:
        decide(play.execution_id, actor="ops")
    except ExecutionConflict:
        assert Execution.objects.get(pk=play.execution_id).status in {"failed", "compensation_failed"}


retry, skip, resolve = (
    partial(help_along, decide)
    for decide in (client.retry_compensation, client.skip_compensation, client.resolve_compensation)
)


# Stories with a pause get shorter on a slow machine, where it ends before the pass could park: their floor is lower.
SCENARIOS = [
    Scenario(
        name="plain steps",
        workflow=programs.plain,
        args=(7,),
        acts=(start, work),
        ends=(("completed", [7, (1, 2), ["apple", "pear"]]),),
        at_least=24,
    ),
    Scenario(
        name="atomic steps", workflow=programs.atomic, acts=(start, work), ends=(("completed", "row"),), at_least=34
    ),
    Scenario(
        name="atomic step that fails and is retried",
        workflow=programs.atomic_retried,
        acts=(start, work, work),
        ends=(("completed", "row"),),
        at_least=30,
    ),
    Scenario(
        name="step that fails twice and is retried",
        workflow=programs.retried,
        acts=(start, work, work, work),
        ends=(("completed", 3),),
        at_least=24,
    ),
    Scenario(
        name="step that fails for good",
        workflow=programs.exhausted,
        acts=(start, work, work, work),
        ends=(("completed", "tests.ledger_app.programs.Broken after 3"),),
        at_least=30,
    ),
    Scenario(
        name="declared business error",
        workflow=programs.refused,
        acts=(start, work),
        ends=(("failed", None),),
        at_least=20,
    ),
    Scenario(
        name="at-most-once step",
        workflow=programs.once,
        acts=(start, work),
        ends=(("completed", "sent"), ("completed", "unknown")),
        at_least=28,
    ),
    Scenario(
        name="sleep",
        workflow=programs.sleep,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", "slept"),),
        at_least=30,
    ),
    Scenario(
        name="signal",
        workflow=programs.signal,
        acts=(start, work, answer("yes"), work),
        ends=(("completed", "yes"),),
        at_least=56,
    ),
    Scenario(
        name="signal that comes before the wait",
        workflow=programs.signal,
        acts=(start, answer("yes"), work),
        ends=(("completed", "yes"),),
        at_least=40,
    ),
    Scenario(
        name="signal with a timeout that runs out",
        workflow=programs.signal_or_timeout,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", "too late"),),
        at_least=30,
    ),
    Scenario(
        name="signal with a timeout that it beats",
        workflow=programs.signal_or_timeout,
        args=(600,),
        acts=(start, work, answer("yes"), work),
        ends=(("completed", "yes"),),
        at_least=56,
    ),
    Scenario(
        name="three signals of two names",
        workflow=programs.signals,
        args=(2,),
        acts=(start, last, work, answer(1), answer(2), work),
        ends=(("completed", [1, 2, "bye"]),),
        at_least=96,
    ),
    Scenario(
        name="token, used twice",
        workflow=programs.by_token,
        acts=(start, work, answer_by_token, answer_by_token, work),
        ends=(("completed", "yes"),),
        at_least=80,
    ),
    Scenario(
        name="signal with start, the first and the second",
        workflow=programs.signals,
        args=(2,),
        acts=(answer_with_start(1), work, answer_with_start(2), last, work),
        ends=(("completed", [1, 2, "bye"]),),
        at_least=96,
    ),
    Scenario(
        name="start with a key, twice",
        workflow=programs.plain,
        args=(7,),
        acts=(start_twice, work),
        ends=(("completed", [7, (1, 2), ["apple", "pear"]]),),
        at_least=34,
    ),
    Scenario(
        name="start in a larger transaction",
        workflow=programs.retried,
        acts=(start_in_a_larger_transaction, work, work, work),
        ends=(("completed", 3),),
        at_least=36,
    ),
    Scenario(
        name="start in a transaction that rolls back",
        workflow=programs.plain,
        args=(7,),
        acts=(start_and_roll_back,),
        ends=(),
        at_least=10,
    ),
    Scenario(
        name="cancel during a sleep, with clean-up",
        workflow=programs.cleanup,
        args=(600,),
        acts=(start, work, cancel, work),
        ends=(("cancelled", None),),
        at_least=56,
    ),
    Scenario(
        name="cancel before the first pass",
        workflow=programs.cleanup,
        args=(600,),
        acts=(start, cancel, work),
        ends=(("cancelled", None),),
        at_least=34,
    ),
    Scenario(
        name="deadline during a sleep",
        workflow=programs.cleanup,
        args=(600,),
        timeout=0.03,
        acts=(start, work, work),
        ends=(("timed_out", None),),
        at_least=20,
    ),
    Scenario(
        name="terminate during a wait",
        workflow=programs.signal,
        acts=(start, work, terminate),
        ends=(("terminated", None),),
        at_least=30,
    ),
    Scenario(
        name="saga that fails",
        workflow=programs.saga,
        acts=(start, work, work, work),
        ends=(("failed", None),),
        at_least=70,
    ),
    Scenario(
        name="saga that fails after a wait",
        workflow=programs.saga_across_waits,
        args=(0.015,),
        acts=(start, work, work, work, work),
        ends=(("failed", None),),
        at_least=70,
    ),
    Scenario(
        name="saga cancelled in a wait",
        workflow=programs.saga_across_waits,
        args=(600,),
        acts=(start, work, cancel, work, work, work),
        ends=(("cancelled", None),),
        at_least=90,
    ),
    Scenario(
        name="saga past its deadline",
        workflow=programs.saga_across_waits,
        args=(600,),
        timeout=0.05,
        acts=(start, work, work, work, work),
        ends=(("timed_out", None),),
        at_least=40,
    ),
    Scenario(
        name="rollback and go on",
        workflow=programs.rolled_back,
        acts=(start, work, work, work),
        ends=(("completed", "undone"),),
        at_least=60,
    ),
    Scenario(
        name="switch to a branch that waits, then undone",
        workflow=programs.switched,
        args=("left", 0.015),
        acts=(start, work, work),
        ends=(("completed", "undone"),),
        at_least=60,
    ),
    Scenario(
        name="branches that sleep, wait, retry and branch again",
        workflow=programs.branches,
        args=(0.015,),
        acts=(start, work, answer("yes"), work, work),
        ends=(("completed", {"sleeping": "slept", "signalled": "yes", "retried": 2, "nested": [1, 2]}),),
        at_least=90,
    ),
    Scenario(
        name="branch that fails while another waits",
        workflow=programs.called_off,
        args=(0.015,),
        acts=(start, work, work, work),
        ends=(("completed", "refused: no"),),
        at_least=70,
    ),
    Scenario(
        name="branches that are cancelled",
        workflow=programs.called_off,
        args=(600,),
        acts=(start, work, cancel, work, work),
        ends=(("cancelled", None),),
        at_least=90,
    ),
    Scenario(
        name="race that the time wins",
        workflow=programs.race,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", ["timed", "too late"]),),
        at_least=50,
    ),
    Scenario(
        name="race that an answer wins",
        workflow=programs.race,
        args=(600,),
        acts=(start, work, answer("yes"), work),
        ends=(("completed", ["answered", "yes"]),),
        at_least=60,
    ),
    Scenario(
        name="coroutines of which the one that sleeps is first",
        workflow=programs.coroutines,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", ["timed"]),),
        at_least=50,
    ),
    Scenario(
        name="coroutines of which the one that is answered is first",
        workflow=programs.coroutines,
        args=(600,),
        acts=(start, work, answer("yes"), work),
        ends=(("completed", ["answered"]),),
        at_least=60,
    ),
    Scenario(
        name="children that are waited for",
        workflow=programs.parent,
        args=(3, 0.015),
        acts=(start, work, work, work),
        ends=(("completed", [3]),),
        at_least=90,
    ),
    Scenario(
        name="child that fails",
        workflow=programs.parent,
        args=(-1, 0.0),
        acts=(start, work, work),
        ends=(("completed", ["failed"]),),
        at_least=90,
    ),
    Scenario(
        name="parent that is cancelled while it waits for a child",
        workflow=programs.parent,
        args=(3, 600),
        acts=(start, work, cancel, work, work),
        ends=(("cancelled", None),),
        at_least=90,
    ),
    Scenario(
        name="race of two that end at the same instant",
        workflow=programs.race_of_equals,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", ["one", None]),),
        at_least=60,
    ),
    Scenario(
        name="any of several that an answer wins",
        workflow=programs.wait_any,
        args=(600, 600),
        acts=(start, work, answer("yes"), work, work),
        ends=(("completed", ["answer", "yes"]),),
        at_least=90,
    ),
    Scenario(
        name="any of several that the time wins",
        workflow=programs.wait_any,
        args=(0.03, 600),
        acts=(start, work, work, work),
        ends=(("completed", ["time", None]),),
        at_least=60,
    ),
    Scenario(
        name="any of several that a child wins",
        workflow=programs.wait_any,
        args=(600, 0.0),
        acts=(start, work, work),
        ends=(("completed", ["child", 3]),),
        at_least=80,
    ),
    Scenario(
        name="all that come in time",
        workflow=programs.wait_all,
        args=(0.1,),
        acts=(start, answer("yes"), work, work, work),
        # The child may come too late where a death, or the machine, takes its time.
        ends=(("completed", [("answer", "yes"), ("child", 3)]), ("completed", [("answer", "yes")])),
        at_least=80,
    ),
    Scenario(
        name="flow of every kind of node",
        workflow=programs.flowing,
        args=(0.01,),
        acts=(start, work, work, answer("yes"), work),
        ends=(("completed", ["yes", [0, 1]]),),
        at_least=120,
    ),
    Scenario(
        name="loop whose rounds are undone",
        workflow=programs.looped,
        args=(2, 0.01),
        acts=(start, work, work, work, work),
        ends=(("failed", None),),
        at_least=90,
    ),
    Scenario(
        name="continued, with answers on the way",
        workflow=programs.continued,
        args=(2,),
        acts=(start, work, answer(1), answer(2), work, answer(3), work),
        ends=(("completed", 3),),
        at_least=120,
    ),
    Scenario(
        name="continued, and started again with its key",
        workflow=programs.continued,
        args=(1,),
        acts=(start, answer(1), work, start, answer(2), work, start),
        ends=(("completed", 2),),
        at_least=100,
    ),
    Scenario(
        name="continued, and then cancelled",
        workflow=programs.continued,
        args=(1,),
        acts=(start, answer(1), work, cancel, work),
        ends=(("cancelled", None),),
        at_least=90,
    ),
    Scenario(
        name="map over a workflow",
        workflow=programs.mapped,
        args=([1, 2], None),
        acts=(start, work, work),
        ends=(("completed", [[1, 2]]),),
        at_least=90,
    ),
    Scenario(
        name="map over a workflow that takes turns",
        workflow=programs.mapped,
        args=([-0.01, 3], 1),
        acts=(start, work, work),
        ends=(("completed", [[-0.01, 3]]),),
        at_least=90,
    ),
    Scenario(
        name="map of which one fails",
        workflow=programs.mapped,
        args=([-600, 0], None),
        acts=(start, work, work),
        ends=(("completed", ["failed"]),),
        at_least=90,
    ),
    Scenario(
        name="parent of a map that is cancelled",
        workflow=programs.mapped,
        args=([1, -600, -600], 1),
        acts=(start, work, cancel, work),
        ends=(("cancelled", None),),
        at_least=90,
    ),
    Scenario(
        name="continued child whose parent waits",
        workflow=programs.parent_of_continued,
        args=(2, 0.01),
        acts=(start, work, work, work, work),
        ends=(("completed", "last"),),
        at_least=120,
    ),
    Scenario(
        name="continued child whose parent is cancelled",
        workflow=programs.parent_of_continued,
        args=(1, 600),
        acts=(start, work, cancel, work, work),
        ends=(("cancelled", None),),
        at_least=80,
    ),
    Scenario(
        name="continued with children of its own",
        workflow=programs.continued_with_children,
        args=(True,),
        acts=(start, work, work, work),
        ends=(("completed", "last"),),
        at_least=100,
    ),
    Scenario(
        name="parent of a map that is cancelled before it starts the children",
        workflow=programs.mapped,
        args=([1, 2], None),
        acts=(start, cancel, work),
        ends=(("cancelled", None),),
        at_least=10,
    ),
    Scenario(
        name="parent of a map that is terminated",
        workflow=programs.mapped,
        args=([-600, -600], 1),
        acts=(start, work, terminate, work),
        ends=(("terminated", None),),
        at_least=60,
    ),
    Scenario(
        name="compensation that a person retries",
        workflow=programs.saga_stuck,
        acts=(start, work, retry, work),
        ends=(("failed", None),),
        at_least=60,
    ),
    Scenario(
        name="compensation that a person skips",
        workflow=programs.saga_stuck,
        acts=(start, work, skip, work),
        ends=(("compensation_failed", None),),
        at_least=60,
    ),
    Scenario(
        name="compensation done by hand",
        workflow=programs.saga_stuck,
        acts=(start, work, resolve, work),
        ends=(("failed", None),),
        at_least=60,
    ),
    Scenario(
        name="bodies side by side",
        workflow=programs.side_by_side,
        args=(False,),
        acts=(start, work, work),
        ends=tuple(
            ("completed", {"hotel": [1, 2], "car": "again", "flight": "flight", "pay": paid})
            for paid in ("paid", "not known")
        ),
        at_least=70,
        threads=4,
    ),
    Scenario(
        name="failure beside bodies that run",
        workflow=programs.side_by_side,
        args=(True,),
        acts=(start, work, work, work),
        ends=(("completed", "refused: no"),),
        at_least=70,
        threads=4,
    ),
    Scenario(
        name="race of bodies",
        workflow=programs.race_of_bodies,
        acts=(start, work),
        ends=(("completed", True),),
        at_least=30,
        threads=2,
    ),
    Scenario(
        name="state that is recorded with the end",
        workflow=programs.state_at_the_end,
        acts=(start, work, query({"phase": "done"})),
        ends=(("completed", None),),
        at_least=20,
    ),
    Scenario(
        name="updates until it is enough",
        workflow=programs.state,
        args=(3,),
        acts=(start, work, ask(1), work, ask(2), work, reply(2)),
        ends=(("completed", {"phase": "counted", "sum": 3}),),
        at_least=100,
    ),
    Scenario(
        name="updates that come together, one is refused",
        workflow=programs.state,
        args=(3,),
        acts=(start, ask(1), ask(-1), ask(2), work, reply(-1)),
        ends=(("completed", {"phase": "counted", "sum": 3}),),
        at_least=80,
    ),
    Scenario(
        name="updates of a part with branches",
        workflow=programs.state_in_branches,
        args=(3, 0.015),
        acts=(start, work, ask(1), ask(2), work, work),
        ends=(("completed", [3, {"slept": True}, {"slept": True, "sum": 3}]),),
        at_least=100,
    ),
    Scenario(
        name="condition that does not hold in time",
        workflow=programs.state_or_timeout,
        args=(0.015,),
        acts=(start, work, work),
        ends=(("completed", False),),
        at_least=30,
    ),
    Scenario(
        name="update that comes with a cancellation",
        workflow=programs.cleanup,
        args=(600,),
        acts=(start, work, ask(1), cancel, work),
        ends=(("cancelled", None),),
        at_least=60,
    ),
    Scenario(
        name="patches",
        workflow=programs.patched,
        acts=(start, work, answer("yes"), work),
        ends=(("completed", ["yes", True]),),
        at_least=60,
    ),
    Scenario(
        name="notes, now, random and uuid4",
        workflow=programs.facts,
        acts=(start, work),
        ends=(("completed", True),),
        at_least=28,
    ),
]


EMITTING = [
    Scenario(
        name="events around a sleep, and a receiver that fails twice",
        workflow=programs.emits,
        args=(0.015,),
        acts=(start, work, work, work),
        ends=(("completed", "told"),),
        at_least=90,
    ),
    Scenario(
        name="events in a race, beside an atomic step and with the end",
        workflow=programs.emits_in_branches,
        args=(0.015,),
        acts=(start, work, work, work),
        ends=(("completed", "fast"),),
        at_least=90,
    ),
    Scenario(
        name="one event",
        workflow=programs.emits_once,
        acts=(start, work, work),
        ends=(("completed", None),),
        at_least=50,
    ),
]


@pytest.mark.parametrize("scenario", EMITTING, ids=lambda scenario: scenario.name)
def test_every_crash_of_an_event_is_recovered(sweep: Sweep, scenario: Scenario) -> None:
    with receiving():
        points = sweep.run(scenario)

    assert points >= least(scenario)
    assert {"delivered"} == set(Delivery.objects.values_list("status", flat=True))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_is_recovered(sweep: Sweep, scenario: Scenario) -> None:
    assert sweep.run(scenario) >= least(scenario)
