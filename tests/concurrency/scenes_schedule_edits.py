"""Schedules are made and edited beside each other and beside the poller: each tick is fired once, or told why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django_durable import client
from django_durable.clock import now
from django_durable.engine import worker
from django_durable.engine.schedules import times
from django_durable.engine.schedules.firing import fire_due
from django_durable.exceptions import ScheduleConflict
from django_durable.models import Schedule, ScheduleTick
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import HOUR, Outcomes, Scene
from tests.ledger_app import programs

NAME = "edited"
Wrong = Callable[[Outcomes], Iterable[str]]


def _ensure(hours: int = 1, **options: Any) -> client.Ensured:
    given = {"args": (1,), "overlap": "allow", **options}
    return client.ensure_schedule(programs.item, id=NAME, interval=hours * HOUR, **given)


def _due() -> Schedule:
    """A schedule with one tick whose time came in the last hour."""
    Schedule.objects.all().delete()
    row = _ensure().schedule
    nominal = times.first(row, now() - HOUR)
    Schedule.objects.filter(pk=row.pk).update(next_at=nominal, due_at=nominal)
    row.next_at = nominal
    return row


def _fire() -> int:
    return fire_due(using="default")


def _scene(acts: dict[str, Act], settled: Wrong, *, agree: Wrong = lambda _: ()) -> Scene:
    """What the schedule starts must end; an execution of its own is there for the plays in which it starts nothing."""
    scene = Scene(acts, {"completed"}, [programs.item.start(1).id], agree=agree)

    def look(outcomes: Outcomes) -> Iterable[str]:
        _fire()  # a poller that came while the row was locked has passed it over
        ticks = ScheduleTick.objects.filter(execution__isnull=False)
        scene.ids.extend(ticks.values_list("execution_id", flat=True))
        worker.drain("default", using="default")
        yield from settled(outcomes)

    scene.settled = look
    return scene


def _started() -> list[Any]:
    return list(
        ScheduleTick.objects.filter(outcome="started").order_by("nominal_at").values_list("nominal_at", flat=True)
    )


def ensure_x_ensure() -> Scene:
    Schedule.objects.all().delete()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        told = sorted(done.outcome for done in outcomes.values())
        if told != ["created", "unchanged"] or Schedule.objects.count() != 1:
            yield f"{told}, {Schedule.objects.count()} rows"

    return _scene({"one": _ensure, "other": _ensure}, lambda _: (), agree=agree)


def ensure_x_other_ensure() -> Scene:
    """Two releases at once: the last one to come has its way, whole."""
    Schedule.objects.all().delete()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        row = Schedule.objects.get()
        told = sorted(done.outcome for done in outcomes.values())
        last = next(done for done in outcomes.values() if done.outcome == "updated")
        held = (row.cadence_hash, row.max_runs)
        if told != ["created", "updated"] or held != (last.schedule.cadence_hash, last.schedule.max_runs):
            yield f"{told}, {held}"

    acts: dict[str, Act] = {"old": lambda: _ensure(max_runs=5), "new": lambda: _ensure(2, max_runs=7)}
    return _scene(acts, lambda _: (), agree=agree)


def update_x_fire() -> Scene:
    """The tick that was due is fired by one of them, and the next is of the new cadence."""
    row = _due()

    def settled(_: Outcomes) -> Iterable[str]:
        found = Schedule.objects.get()
        if _started() != [row.next_at] or found.next_at != times.first(found, now()):
            yield f"started {_started()}, next {found.next_at}"

    acts: dict[str, Act] = {"editor": lambda: client.update_schedule(NAME, interval=HOUR / 4), "poller": _fire}
    return _scene(acts, settled)


def pause_x_fire() -> Scene:
    """It is fired before the pause, or it waits for the end of it."""
    row = _due()

    def settled(_: Outcomes) -> Iterable[str]:
        found = Schedule.objects.get()
        was_fired = _started() == [row.next_at]
        if found.status != "paused" or was_fired != (found.next_at > row.next_at):
            yield f"{found.status}, started {_started()}, next {found.next_at}"
        client.resume_schedule(NAME)
        outcome = ScheduleTick.objects.get().outcome
        if outcome != ("started" if was_fired else "skipped"):
            yield f"after the pause it is {outcome}"

    return _scene({"operator": lambda: client.pause_schedule(NAME), "poller": _fire}, settled)


def resume_x_fire() -> Scene:
    _due()
    client.pause_schedule(NAME)

    def settled(_: Outcomes) -> Iterable[str]:
        outcomes = list(ScheduleTick.objects.values_list("outcome", flat=True))
        if outcomes != ["skipped"] or Schedule.objects.get().status != "active":
            yield f"{outcomes}"

    return _scene({"operator": lambda: client.resume_schedule(NAME), "poller": _fire}, settled)


def remove_x_fire() -> Scene:
    _due()

    def settled(_: Outcomes) -> Iterable[str]:
        if Schedule.objects.exists() or ScheduleTick.objects.exists():
            yield "it is still there"

    return _scene({"operator": lambda: client.remove_schedule(NAME), "poller": _fire}, settled)


def trigger_x_fire() -> Scene:
    row = _due()

    def settled(_: Outcomes) -> Iterable[str]:
        kinds = list(ScheduleTick.objects.order_by("nominal_at").values_list("kind", "outcome"))
        if kinds != [("regular", "started"), ("triggered", "started")] or _started()[0] != row.next_at:
            yield f"{kinds}"

    return _scene({"operator": lambda: client.trigger_schedule(NAME), "poller": _fire}, settled)


def backfill_x_fire() -> Scene:
    """Of what is due now the poller alone is in charge; what was long ago is started once."""
    row = _due()
    assert row.next_at is not None
    start = row.next_at - HOUR
    acts: dict[str, Act] = {"operator": lambda: client.backfill_schedule(NAME, start, now()), "poller": _fire}

    def settled(_: Outcomes) -> Iterable[str]:
        if _started() != [start, row.next_at]:
            yield f"started {_started()}"

    return _scene(acts, settled)


def backfill_x_backfill() -> Scene:
    row = _due()
    assert row.next_at is not None
    start, end = row.next_at - 2 * HOUR, row.next_at - timedelta(minutes=1)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        counts = sorted((len(done.ticks), len(done.refused)) for done in outcomes.values())
        if counts != [(0, 2), (2, 0)]:
            yield f"{counts}"

    def act() -> client.Backfilled:
        return client.backfill_schedule(NAME, start, end)

    return _scene({"one": act, "other": act}, lambda _: (), agree=agree)


def pause_x_pause() -> Scene:
    _due()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        refused = sum(isinstance(outcome, ScheduleConflict) for outcome in outcomes.values())
        if refused != 1:
            yield f"{refused} were refused"

    acts: dict[str, Act] = {name: lambda: client.pause_schedule(NAME) for name in ("one", "other")}
    return _scene(acts, lambda _: (), agree=agree)


PAIRS = {
    "schedule: ensure x ensure": (ensure_x_ensure, 4),
    "schedule: ensure x other ensure": (ensure_x_other_ensure, 4),
    "schedule: pause x fire": (pause_x_fire, 4),
    "schedule: pause x pause": (pause_x_pause, 2),
}
SAMPLED = {  # a poller has many statements: all orders take minutes on PostgreSQL
    "schedule: update x fire": update_x_fire,
    "schedule: resume x fire": resume_x_fire,
    "schedule: remove x fire": remove_x_fire,
    "schedule: trigger x fire": trigger_x_fire,
    "schedule: backfill x fire": backfill_x_fire,
    "schedule: backfill x backfill": backfill_x_backfill,
}
