"""System checks, one small function each. Every id is explained in docs/reference.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks
from django.db import DatabaseError, connections, router, transaction
from django.utils.module_loading import import_string

from django_durable import beat, conf
from django_durable.cadence import is_reinterpreted
from django_durable.definitions import registry
from django_durable.engine.queues import known_queues
from django_durable.engine.schedules import declaring
from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.models import Execution, Schedule, ScheduleStatus, Timer, WebhookEndpoint
from django_durable.retention import Retention

Messages = list[checks.CheckMessage]


@checks.register("durable")
def check_settings(app_configs: object = None, **_: Any) -> Messages:
    """E001: a key of DURABLE that does not exist. E002: a value of no use. W003: too short a lease."""
    given = getattr(django_settings, "DURABLE", {})
    unknown = [key for key in given if conf.field_for(key) is None]
    if unknown:
        return [_unknown_setting(key) for key in unknown]
    try:
        settings = conf.read(given)
        Retention.of(settings.retention, "DURABLE['RETENTION']")
    except (ConfigurationError, InvalidOptionError, TypeError) as error:
        return [checks.Error(str(error), hint="See the settings reference.", id="durable.E002")]
    missing = [path for path in (settings.dispatcher, settings.payload_cipher) if path and not _can_import(path)]
    if missing:
        return [
            checks.Error(
                f"DURABLE names {path!r}, which cannot be imported.",
                hint="Give the dotted path of a class.",
                id="durable.E002",
            )
            for path in missing
        ]
    aliases = {"ARCHIVE": settings.archive, "PAYLOAD_STORAGE": settings.payload_storage}
    unknown = [key for key, alias in aliases.items() if alias is not None and alias not in django_settings.STORAGES]
    if unknown:
        hint = "Give an alias that is there."
        return [checks.Error(f"DURABLE[{key!r}] is not in STORAGES.", hint=hint, id="durable.E002") for key in unknown]
    if settings.lease_seconds < 3 * settings.heartbeat_interval_seconds:
        return [
            checks.Warning(
                f"A lease of {settings.lease_seconds:g} s is shorter than three heartbeats of "
                f"{settings.heartbeat_interval_seconds:g} s: one slow beat can cost a live worker its execution.",
                hint="Raise DURABLE['LEASE_SECONDS'] or lower DURABLE['HEARTBEAT_SECONDS'].",
                id="durable.W003",
            )
        ]
    return []


def _can_import(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False


def _unknown_setting(key: str) -> checks.CheckMessage:
    near = conf.nearest_key(key)
    hint = f"Did you mean {near!r}?" if near else "See the settings reference for the keys there are."
    return checks.Error(f"DURABLE[{key!r}] is not a setting.", hint=hint, id="durable.E001")


@checks.register("durable")
def check_time_zone(app_configs: object = None, **_: Any) -> Messages:
    """E004: without USE_TZ a sleep over a clock change would end an hour early or late."""
    if django_settings.USE_TZ:
        return []
    return [checks.Error("django-durable needs USE_TZ = True.", hint="Set USE_TZ = True.", id="durable.E004")]


@checks.register("durable")
def check_router(app_configs: object = None, **_: Any) -> Messages:
    """E005: starts and signals must be written where the workers read."""
    alias = _alias()
    if alias not in connections:
        return [
            checks.Error(
                f"DURABLE['DATABASE'] = {alias!r} is not in DATABASES.",
                hint=f"Use one of {', '.join(connections)}.",
                id="durable.E005",
            )
        ]
    if not router.allow_migrate_model(alias, Execution):
        return [
            checks.Error(
                f"The database routers keep the tables of django_durable away from {alias!r}.",
                hint="Let allow_migrate() return True for app django_durable on DURABLE['DATABASE'].",
                id="durable.E005",
            )
        ]
    return []


@checks.register(checks.Tags.database, "durable")
def check_isolation(app_configs: object = None, databases: Sequence[str] | None = None, **_: Any) -> Messages:
    """E006: above READ COMMITTED a snapshot may be older than the lock, below it nothing holds."""
    if not _is_ours(databases):
        return []
    connection: Any = connections[_alias()]
    query = {"postgresql": "SHOW transaction_isolation", "mysql": "SELECT @@session.transaction_isolation"}
    if connection.vendor not in query:
        return []
    if connection.vendor == "mysql" and connection.mysql_is_mariadb:
        query["mysql"] = "SELECT @@session.tx_isolation"
    # In a transaction: what Django asks for and what the server's own default is are both in effect only there.
    with transaction.atomic(using=_alias()), connection.cursor() as cursor:
        cursor.execute(query[connection.vendor])
        level = str(cursor.fetchone()[0]).replace("-", " ").lower()
    if level == "read committed":
        return []
    return [
        checks.Error(
            f"Database {_alias()!r} runs at isolation level {level!r}; django-durable needs READ COMMITTED.",
            hint=f"Set OPTIONS['isolation_level'] to {_read_committed(connection.vendor)}.",
            id="durable.E006",
        )
    ]


def _read_committed(vendor: str) -> str:
    """How Django's settings name the level on a database."""
    return "psycopg.IsolationLevel.READ_COMMITTED" if vendor == "postgresql" else "'read committed'"


@checks.register("durable")
def check_sqlite(app_configs: object = None, **_: Any) -> Messages:
    """W007: with DEFERRED transactions writers fail with 'database is locked'. W008: without WAL readers block."""
    if _alias() not in connections or connections[_alias()].vendor != "sqlite":
        return []
    options = connections[_alias()].settings_dict.get("OPTIONS", {})
    found: Messages = []
    if str(options.get("transaction_mode", "")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        found.append(
            checks.Warning(
                "SQLite without transaction_mode IMMEDIATE: concurrent writers will fail with 'database is locked'.",
                hint='Set DATABASES[...]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
                id="durable.W007",
            )
        )
    if "wal" not in str(options.get("init_command", "")).lower():
        found.append(
            checks.Warning(
                "SQLite without write-ahead log: readers and the worker block each other.",
                hint='Set DATABASES[...]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL".',
                id="durable.W008",
            )
        )
    return found


@checks.register("durable")
def check_celery(app_configs: object = None, **_: Any) -> Messages:
    """W009: pickle in accept_content. W010: no tick anywhere. E013: a pool that cannot run workflows."""
    if _settings().dispatcher != conf.Settings().dispatcher:
        return []
    from celery import current_app

    return [*_pickle(current_app.conf), *_tick(current_app.conf), *_pool(current_app.conf)]


def _pickle(celery: Any) -> Iterator[checks.CheckMessage]:
    if {"pickle", "application/x-python-serialize"} & {str(kind) for kind in celery.accept_content or ()}:
        yield checks.Warning(
            "Celery accepts pickle: whoever can write to the broker can run code in the workers.",
            hint='Set accept_content = ["json"]; django-durable sends JSON only.',
            id="durable.W009",
        )


def _tick(celery: Any) -> Iterator[checks.CheckMessage]:
    tasks = {entry.get("task") for entry in (celery.beat_schedule or {}).values()}
    if beat.TASK not in tasks and not apps.is_installed("django_celery_beat"):
        yield checks.Warning(
            "No tick is configured: sleeps, time-outs, retries and lost messages would wait for ever.",
            hint="Add **django_durable.beat.beat_schedule() to beat_schedule, install django-celery-beat, "
            "or run `manage.py durable_tick --every 1`.",
            id="durable.W010",
        )


def _pool(celery: Any) -> Iterator[checks.CheckMessage]:
    from django_durable.celery_worker import refused_pool

    refused = refused_pool(celery.worker_pool, celery.get("worker_pool_start_method", "fork"))
    if refused:
        yield checks.Error(
            refused,
            hint="Change that setting for the workers that run workflows; they refuse to start with it.",
            id="durable.E013",
        )


@checks.register(checks.Tags.database, "durable")
def check_live_executions(app_configs: object = None, databases: Sequence[str] | None = None, **_: Any) -> Messages:
    """W011: live executions of workflows or versions that this code does not register."""
    if not _is_ours(databases):
        return []
    try:
        live = list(Execution.objects.using(_alias()).open().values_list("workflow", "version").distinct()[:1000])
    except DatabaseError:  # not migrated yet
        return []
    return [
        checks.Warning(
            f"Live executions of {name!r} version {version}, which no workflows.py here registers, cannot go on.",
            hint="Keep the old function registered until they have ended, or terminate them.",
            id="durable.W011",
        )
        for name, version in live
        if not registry.knows(name, version)
    ]


@checks.register(checks.Tags.database, "durable")
def check_queues(app_configs: object = None, databases: Sequence[str] | None = None, **_: Any) -> Messages:
    """W012: live executions on queues that nobody looks at any more."""
    if not _is_ours(databases):
        return []
    try:
        lost = Timer.objects.using(_alias()).exclude(queue__in=known_queues())
        names = list(lost.values_list("queue", flat=True).distinct()[:100])
    except (DatabaseError, ConfigurationError, TypeError):  # not migrated yet, or E001 and E002 say more
        return []
    return [
        checks.Warning(
            f"Live executions wait on queue {name!r}, which neither DURABLE['QUEUES'] nor a workflow names.",
            hint="Keep the name in DURABLE['QUEUES'] until the queue is empty.",
            id="durable.W012",
        )
        for name in names
    ]


@checks.register(checks.Tags.database, "durable")
def check_webhooks(app_configs: object = None, databases: Sequence[str] | None = None, **_: Any) -> Messages:
    """W014: endpoints that nobody sends to."""
    if not _is_ours(databases) or _settings().webhook_queue is not None:
        return []
    try:
        if not WebhookEndpoint.objects.using(_alias()).active().exists():
            return []
    except DatabaseError:  # not migrated yet
        return []
    return [
        checks.Warning(
            "There are active webhook endpoints, and no queue whose workers send to them.",
            hint="Name one in DURABLE['WEBHOOK_QUEUE'], or make the endpoints inactive.",
            id="durable.W014",
        )
    ]


@checks.register(checks.Tags.database, "durable")
def check_cadences(app_configs: object = None, databases: Sequence[str] | None = None, **_: Any) -> Messages:
    """W015: cron expressions that another major of the parser was asked about."""
    if not _is_ours(databases):
        return []
    try:
        rows = Schedule.objects.using(_alias()).exclude(status=ScheduleStatus.ENDED).order_by("name")
        stored = list(rows.values_list("name", "cadence")[:1000])
    except DatabaseError:  # not migrated yet
        return []
    return [
        checks.Warning(
            f"Schedule {name!r} was made with another major version of croniter, which may have read it differently.",
            hint=f"Look at `manage.py durable_schedules preview {name}`; to accept it, give its cron expression once "
            "more with client.update_schedule(name, cron=...).",
            id="durable.W015",
        )
        for name, cadence in stored
        if is_reinterpreted(json.loads(cadence))
    ]


@checks.register("durable")
def check_declared_schedules(app_configs: object = None, **_: Any) -> Messages:
    """E016: two workflows that declare one schedule."""
    try:
        declaring.declared()
    except ConfigurationError as error:
        return [checks.Error(str(error), hint="Names of schedules are unique in the database.", id="durable.E016")]
    return []


def _settings() -> conf.Settings:
    """The project's, or the defaults while E001 or E002 says what is wrong with them."""
    try:
        return conf.get_settings()
    except (ConfigurationError, TypeError):
        return conf.Settings()


def _alias() -> str:
    return _settings().database


def _is_ours(databases: Sequence[str] | None) -> bool:
    return databases is not None and _alias() in databases and _alias() in connections
