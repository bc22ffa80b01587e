"""Schedules that nobody fires, and those that have stopped by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from django_durable.health.findings import Finding, kind
from django_durable.health.look import MOST_EXAMPLES, MOST_ROWS, Look, at_least, duration
from django_durable.health.work import SLOW_SECONDS, STANDING_SECONDS
from django_durable.models import Schedule, ScheduleStatus

LATE_SCHEDULES = kind(
    "late_schedules",
    "Which schedules are due and were not fired?",
    warning=f"one has been due for more than {SLOW_SECONDS:.0f} s",
    critical=f"for more than {STANDING_SECONDS:.0f} s",
    fix="See the findings tick and tick_entry: ticks fire them. One alone is put off when the worker that ticks has "
    "not got its workflow, or cannot read it: see that worker's log.",
)
FAILED_SCHEDULES = kind(
    "failed_schedules",
    "Which schedules were paused after failures in a row?",
    warning="there are some",
    fix="Look at what they have started, `manage.py durable_schedules ticks NAME`; mend it, then "
    "`manage.py durable_schedules resume NAME`.",
)


def find_late(look: Look) -> Iterator[Finding]:
    """From the head of the index of those that are due."""
    due = Schedule.objects.using(look.using).due().order_by("due_at")
    late = [(name, at) for name, at in due.values_list("name", "due_at")[:MOST_ROWS] if at is not None]
    if not late:
        yield LATE_SCHEDULES.ok("None is due.", age_seconds=0.0)
        return
    name, due_at = late[0]
    age = max(look.seconds_since(due_at), 0.0)
    grade = LATE_SCHEDULES.ok
    if age > SLOW_SECONDS:
        grade = LATE_SCHEDULES.alarm if age > STANDING_SECONDS else LATE_SCHEDULES.warn
    yield grade(
        f"{at_least(len(late), MOST_ROWS)} due, the first {name!r} for {duration(age)}.",
        age_seconds=age,
        examples=[name for name, _ in late[:MOST_EXAMPLES]],
    )


def find_failed(look: Look) -> Iterator[Finding]:
    paused = Schedule.objects.using(look.using).filter(status=ScheduleStatus.PAUSED, paused_by="")
    by_engine = paused.filter(pause_after_failures__isnull=False)
    names = sorted(by_engine.values_list("name", flat=True)[:MOST_ROWS])
    examples = names[:MOST_EXAMPLES]
    if not names:
        yield FAILED_SCHEDULES.ok("None.", count=0)
        return
    what = f"{at_least(len(names), MOST_ROWS)}: {', '.join(examples)}."
    yield FAILED_SCHEDULES.warn(what, count=len(names), examples=examples)
