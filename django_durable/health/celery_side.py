"""Celery: what its settings do to our tasks, and whether its broker answers. Nothing with another dispatcher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.apps import apps

from django_durable import beat, tasks
from django_durable.conf import Settings
from django_durable.health.findings import Finding, kind
from django_durable.health.look import Look

BROKER_SECONDS = 1.0

REUSE = kind(
    "connection_reuse",
    "Do Celery's processes keep their database connections between tasks?",
    warning="`CELERY_DB_REUSE_MAX` is not set under the prefork pool: each task opens a connection",
    fix="Set CELERY_DB_REUSE_MAX = 100, by exactly that name, in Django's settings. CONN_MAX_AGE does nothing there.",
)
POOL = kind(
    "pool_under_prefork",
    'Is psycopg\'s pool (`OPTIONS["pool"]`) used only where it helps?',
    warning="it is used under prefork, where Celery closes it after each task",
    fix='Take "pool" out of OPTIONS for the workers, or run them with `--pool threads`.',
)
TICK_ENTRY = kind(
    "tick_entry",
    "Is the tick in the schedule of django-celery-beat?",
    warning="there is no enabled entry",
    fix=f"Enable the periodic task {beat.ENTRY!r} in the admin; `manage.py migrate` makes it anew if it is gone.",
)
TASK_OPTIONS = kind(
    "task_options",
    "Do our tasks run as this package defines them?",
    warning="`acks_late` was set for one: a worker that dies has its message delivered twice, to no use",
    fix="Leave django_durable.* out of task_annotations; leases do what acks_late is for.",
)
BROKER = kind(
    "broker",
    "Does the broker answer? (only `durable_doctor --celery`)",
    critical=f"not within {BROKER_SECONDS:.0f} s: no hints arrive; nothing is lost, and nothing goes on",
    fix="Start it, or mend `broker_url`. Executions go on by themselves once it answers.",
)


def uses_celery(look: Look) -> bool:
    return look.settings.dispatcher == Settings().dispatcher


def is_served(look: Look) -> bool:
    """Connections to a file cost next to nothing."""
    return bool(look.connection.vendor != "sqlite")


def find_connections(look: Look) -> Iterator[Finding]:
    if not uses_celery(look) or not is_served(look):
        return
    is_prefork = current_app.conf.worker_pool in {"prefork", "processes"}
    reuse = current_app.conf.get("CELERY_DB_REUSE_MAX", None)
    if is_prefork and not reuse:
        yield REUSE.warn("CELERY_DB_REUSE_MAX is not set, and the pool is prefork.")
    else:
        yield REUSE.ok(f"CELERY_DB_REUSE_MAX is {reuse}, the pool {current_app.conf.worker_pool}.")
    if is_prefork and look.connection.settings_dict.get("OPTIONS", {}).get("pool"):
        yield POOL.warn(f"Database {look.using!r} has a connection pool, and Celery's pool is prefork.")
    else:
        yield POOL.ok("No pool under prefork.")


def find_tick_entry(look: Look) -> Iterator[Finding]:
    if not uses_celery(look) or not apps.is_installed("django_celery_beat"):
        return
    in_plain_beat = {entry.get("task") for entry in (current_app.conf.beat_schedule or {}).values()}
    enabled = apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task=beat.TASK, enabled=True)
    if beat.TASK in in_plain_beat or enabled.exists():
        yield TICK_ENTRY.ok("It is.")
    else:
        yield TICK_ENTRY.warn(f"django-celery-beat has no enabled periodic task {beat.TASK!r}.")


def find_task_options(look: Look) -> Iterator[Finding]:
    if not uses_celery(look):
        return
    ours: list[Any] = [current_app.tasks.get(task.name) for task in (tasks.advance, tasks.drain, tasks.tick)]
    late = sorted(task.name for task in ours if task is not None and task.acks_late)
    if late:
        yield TASK_OPTIONS.warn(f"acks_late is set for {', '.join(late)}.", tasks=late)
    else:
        yield TASK_OPTIONS.ok("They do.")


def find_broker(look: Look) -> Iterator[Finding]:
    if not look.asks_broker or not uses_celery(look):
        return
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS, interval_start=0, interval_step=0)
            where = connection.as_uri()  # without the password
    except Exception as error:  # each transport has its own
        yield BROKER.alarm(f"The broker does not answer: {type(error).__name__}.", error=type(error).__name__)
    else:
        yield BROKER.ok(f"{where} answers.")
