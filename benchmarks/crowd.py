"""Many executions, as a site has them after a year: most have ended, some sleep, half of them have labels and a key."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, models

from benchmarks.sizes import Size
from django_durable.clock import now
from django_durable.models import Execution, Status, Timer

WORKFLOWS, TENANTS, ERRORS = 50, 500, 20
BATCH = 2_000
SPACE = timedelta(seconds=29)  # between two starts: a year for a million
FAILED = 40  # one of so many
ANALYZE = {"postgresql": "VACUUM ANALYZE {}", "mysql": "ANALYZE TABLE {}"}  # as the server itself would by and by


def fill(size: Size) -> None:
    """Executions by number, the oldest is 0, and the timers of those asleep, which are due from tomorrow on."""
    total = size.ended + size.asleep
    began, tomorrow = now() - total * SPACE, now() + timedelta(days=1)
    every = total // size.asleep  # one of so many sleeps
    for first in range(0, total, BATCH):
        made = [
            _execution(number, began, sleeps=number % every == 0) for number in range(first, min(first + BATCH, total))
        ]
        Execution.objects.bulk_create(made)
        sleepers = [execution for execution in made if execution.status == Status.SLEEPING]
        Timer.objects.bulk_create(
            Timer(execution=one, queue="default", due_at=tomorrow + number * SPACE)
            for number, one in enumerate(sleepers)
        )
    analyze(Execution, Timer)


def _execution(number: int, began: datetime, *, sleeps: bool) -> Execution:
    """Half of them have a key, a subject and labels."""
    at = began + number * SPACE
    made = Execution(workflow=f"find.{number % WORKFLOWS}", input='[1,{"args":[7],"kwargs":{}}]', created_at=at)
    if sleeps:
        made.status, made.waiting_for, made.started_at = Status.SLEEPING, "timer", at
    else:
        made.status, made.started_at, made.finished_at = Status.COMPLETED, at, at + SPACE
        if number % FAILED == 1:
            made.status, made.error_type = Status.FAILED, f"shop.errors.Error{number // FAILED % ERRORS}"
    if number % 4 > 1:
        made.key = f"order:{number}"
        made.subject_type, made.subject_id = "shop.order", str(number)
        made.labels = {"tenant": f"tenant-{number % TENANTS}", "order": str(number)}
    return made


def analyze(*tables: type[models.Model]) -> None:
    if connection.vendor in ANALYZE:
        for model in tables:
            with connection.cursor() as cursor:
                cursor.execute(ANALYZE[connection.vendor].format(_table(model)))


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)
