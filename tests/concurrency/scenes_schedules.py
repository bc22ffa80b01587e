"""Schedules that meet: two pollers, an edit while they tick, the end of the execution that a tick would overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import client
from django_durable.cadence import Interval
from django_durable.clock import DatabaseNow
from django_durable.engine.schedules import firing
from django_durable.models import Execution, Schedule, ScheduleTick, Turn
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import HOUR, Outcomes, Scene, _numbers, _pass, _work
from tests.ledger_app import programs
from tests.schedules.making import make


class _Hourly:
    """The only schedule there is. One tick is due; if ``running``, the one before it has an execution under way."""

    def __init__(self, *, running: bool = False, **options: Any) -> None:
        Schedule.objects.all().delete()
        self.ids: list[UUID] = [programs.atomic_once.start().id]  # beside it, for there may be no tick
        _work()
        first = _database_now() - HOUR / 2
        given = {"name": f"hourly {next(_numbers)}", "next_at": first, **options}
        self.schedule = make(programs.atomic_once, cadence=Interval(HOUR, anchor=first), **given)
        if running:
            fire()
            self.an_hour_later()

    def an_hour_later(self) -> None:
        """It is the past that moves. No column is set from another: MariaDB assigns from left to right."""
        Schedule.objects.update(next_at=F("next_at") - HOUR, due_at=F("due_at") - HOUR, last_at=F("last_at") - HOUR)
        for tick in ScheduleTick.objects.order_by("nominal_at"):
            ScheduleTick.objects.filter(pk=tick.pk).update(nominal_at=tick.nominal_at - HOUR)

    def ticks(self) -> list[ScheduleTick]:
        found = list(ScheduleTick.objects.order_by("nominal_at").select_related("execution"))
        self.ids += [tick.execution_id for tick in found if tick.execution_id and tick.execution_id not in self.ids]
        return found

    def outcomes(self) -> str:
        return "".join(tick.outcome[0] for tick in self.ticks())

    def scene(
        self, agree: Callable[[Outcomes], Iterable[str]], *, ends: tuple[str, ...] = ("completed",), **acts: Act
    ) -> Scene:
        return Scene(acts, set(ends), self.ids, agree)


def _database_now() -> Any:
    row = Turn(name=f"clock {next(_numbers)}", next_at=DatabaseNow())
    row.save(force_insert=True)
    row.refresh_from_db()
    row.delete()
    return row.next_at


def fire() -> int:
    return firing._fire_batch(lambda: Schedule.objects.due().order_by("due_at"), "default")


def release() -> int:
    return firing._fire_batch(lambda: firing._releasable("default"), "default")


def _expect(stage: _Hourly, *wanted: str) -> Callable[[Outcomes], Iterable[str]]:
    def agree(_: Outcomes) -> Iterable[str]:
        found = stage.outcomes()
        if found not in wanted:
            yield f"the ticks are {found!r}, not one of {wanted}"

    return agree


# -- two pollers, and edits ----------------------------------------------------------------------------


def poller_x_poller() -> Scene:
    stage = _Hourly()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from _expect(stage, "s")(outcomes)
        if sorted(outcomes.values()) != [0, 1]:
            yield f"fired by {outcomes}"

    return stage.scene(agree, poller=fire, other=fire)


def release_x_release() -> Scene:
    stage = _Hourly(running=True, overlap="buffer_one")
    fire()
    _work()
    return stage.scene(_expect(stage, "ss"), poller=release, other=release)


def poller_x_pause() -> Scene:
    """An edit that compares the version comes before the tick or is refused."""
    stage = _Hourly()

    def pause() -> int:
        rows = Schedule.objects.filter(pk=stage.schedule.pk, version=stage.schedule.version)
        return rows.update(status="paused", paused_at=DatabaseNow(), due_at=None, version=F("version") + 1)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        was_paused = outcomes["editor"] == 1
        yield from _expect(stage, "" if was_paused else "s")(outcomes)
        if (Schedule.objects.get().status == "paused") != was_paused:
            yield "the pause was lost"

    return stage.scene(agree, poller=fire, editor=pause)


def release_x_pause() -> Scene:
    """What waits starts before the pause, or not while it lasts."""
    stage = _Hourly(running=True, overlap="buffer_one")
    fire()
    _work()

    def pause() -> datetime | None:
        return client.pause_schedule(stage.schedule).paused_at

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from _expect(stage, "sb", "ss")(outcomes)
        for tick in ScheduleTick.objects.filter(outcome="started", execution__created_at__gt=outcomes["operator"]):
            yield f"{tick} was started behind the pause"

    return stage.scene(agree, poller=release, operator=pause)


def poller_x_new_cadence() -> Scene:
    """An edit under the lock: whichever comes first, the tick of the old cadence is not fired behind it."""
    stage = _Hourly()

    def edit() -> None:
        with transaction.atomic():
            schedule = Schedule.objects.select_for_update().get(pk=stage.schedule.pk)
            later = schedule.next_at + timedelta(days=9) if schedule.next_at else None
            Schedule.objects.filter(pk=schedule.pk).update(
                next_at=later, due_at=later, version=F("version") + 1, updated_at=DatabaseNow()
            )

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from _expect(stage, "", "s")(outcomes)
        next_at = stage.schedule.next_at
        assert next_at is not None
        wanted = next_at + timedelta(days=9) + len(stage.ticks()) * HOUR
        if Schedule.objects.get().next_at != wanted:
            yield f"the next time is {Schedule.objects.get().next_at}, not {wanted}"

    return stage.scene(agree, poller=fire, editor=edit)


def poller_x_remove() -> Scene:
    stage = _Hourly()

    def remove() -> None:
        with transaction.atomic():
            list(Schedule.objects.select_for_update().filter(pk=stage.schedule.pk))
            stage.schedule.ticks.all()._raw_delete(using="default")
            Schedule.objects.filter(pk=stage.schedule.pk)._raw_delete(using="default")

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if Schedule.objects.exists() or ScheduleTick.objects.exists():
            yield "something is left of it"

    return stage.scene(agree, poller=fire, editor=remove)


# -- the end of the one before ---------------------------------------------------------------------------


def _meeting_its_end(overlap: str, *wanted: str, ends: tuple[str, ...] = ("completed",)) -> Scene:
    stage = _Hourly(running=True, overlap=overlap)
    run = Execution.objects.get(pk=stage.ticks()[0].execution_id)
    return stage.scene(_expect(stage, *wanted), ends=ends, poller=fire, worker=_pass(run))


def skip_x_end() -> Scene:
    return _meeting_its_end("skip", "ss")  # started or skipped: both begin with an s


def cancel_other_x_end() -> Scene:
    return _meeting_its_end("cancel_other", "sb", "ss", ends=("completed", "cancelled"))


def terminate_other_x_end() -> Scene:
    return _meeting_its_end("terminate_other", "ss", ends=("completed", "terminated"))


def release_x_end() -> Scene:
    """It sees the end or comes too early; then the next poller starts what waits, once."""
    stage = _Hourly(running=True, overlap="buffer_one")
    fire()
    run = Execution.objects.get(pk=stage.ticks()[0].execution_id)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        yield from _expect(stage, "sb", "ss")(outcomes)
        release()
        yield from _expect(stage, "ss")(outcomes)

    return stage.scene(agree, poller=release, worker=_pass(run))


PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "schedules: poller x poller": (poller_x_poller, 4),
    "schedules: release x release": (release_x_release, 4),
    "schedules: release x pause": (release_x_pause, 4),
    "schedules: poller x pause": (poller_x_pause, 4),
    "schedules: poller x new cadence": (poller_x_new_cadence, 4),
    "schedules: poller x remove": (poller_x_remove, 4),
    "schedules: skip x end": (skip_x_end, 4),
    "schedules: release x end": (release_x_end, 4),
}
# More orders than a minute is enough for: all 994 of the first, and 773 of the second, were played once on PostgreSQL.
SAMPLED: dict[str, Callable[[], Scene]] = {
    "schedules: cancel_other x end": cancel_other_x_end,
    "schedules: terminate_other x end": terminate_other_x_end,
}
MORTAL = ["schedules: poller x poller"]
