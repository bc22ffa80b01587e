"""Is it healthy? ``report()`` looks at the database and the settings and names what is wrong, each with its fix.

Every question is bounded and goes by an index, so that a page may ask each ten seconds beside a million executions.
Nothing is written, and no payload is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from django_durable import conf
from django_durable.exceptions import ConfigurationError
from django_durable.health import celery_side, environment, executions, limits, nodes, schedules, tables, work
from django_durable.health.findings import KINDS, Finding, Kind, Severity, kind
from django_durable.health.look import Look, database_now

__all__ = ["KINDS", "Finding", "Health", "Kind", "Severity", "report", "summary"]

Probe = Callable[[Look], Iterator[Finding]]

DATABASE = kind(
    "database",
    "Does the database answer?",
    warning="one question failed: the others are in the report",
    critical="it does not",
    fix="Start it, or mend DATABASES. A question that failed: is `manage.py migrate` done, and may this user read the "
    "statistics?",
)
# What a load balancer or a dashboard asks all the time.
QUICK: tuple[Probe, ...] = (nodes.find_tick, nodes.find_workers, work.find_due, executions.find_stuck)
PROBES: tuple[Probe, ...] = (
    *QUICK,
    nodes.find_versions,
    executions.find_no_worker,
    executions.find_retrying,
    executions.find_compensation_failed,
    work.find_deliveries,
    limits.find_full_limits,
    schedules.find_late,
    schedules.find_failed,
    tables.find_sizes,
    tables.find_dead_rows,
    tables.find_long_transactions,
    environment.find_checks,
    environment.find_clock,
    environment.find_debug,
    celery_side.find_connections,
    celery_side.find_tick_entry,
    celery_side.find_task_options,
    celery_side.find_broker,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """findings: the worst first. at: by the database's clock, None if it does not answer."""

    using: str
    at: datetime | None
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        return max((finding.severity for finding in self.findings), default=Severity.OK)

    def of(self, code: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.code == code]


def report(using: str | None = None, *, asks_broker: bool = False) -> Health:
    """Look at everything. using: default ``DURABLE["DATABASE"]``. asks_broker: wait up to a second for Celery's broker.

    Does not raise for what is broken; that is a finding. Transaction: none is left open, and a caller's goes on.
    """
    return _look(PROBES, using, asks_broker)


def summary(using: str | None = None) -> dict[str, Any]:
    """A small dict for a probe or a load balancer: the state in one word, the codes behind it, a few figures."""
    health = _look(QUICK, using, asks_broker=False)
    codes = {
        severity: sorted({finding.code for finding in health.findings if finding.severity == severity})
        for severity in (Severity.CRITICAL, Severity.WARNING)
    }
    tick, workers = health.of("tick"), health.of("workers")
    return {
        "status": health.severity.label,
        "critical": codes[Severity.CRITICAL],
        "warning": codes[Severity.WARNING],
        "tick_age_seconds": tick[0].data.get("age_seconds") if tick else None,
        "workers": workers[0].data.get("count") if workers else None,
    }


def _look(probes: Sequence[Probe], using: str | None, asks_broker: bool) -> Health:
    try:
        settings = conf.get_settings()
    except (ConfigurationError, TypeError):
        settings, probes = conf.Settings(), (environment.find_checks,)  # they say what is wrong with them
    alias = using or settings.database
    try:
        now = database_now(alias)
    except (DatabaseError, InterfaceError) as error:
        lost = DATABASE.alarm(
            f"Database {alias!r} does not answer: {type(error).__name__}.", error=type(error).__name__
        )
        return Health(using=alias, at=None, findings=(lost,))
    look = Look(using=alias, settings=settings, now=now, asks_broker=asks_broker)
    findings = [DATABASE.ok(f"{alias!r} answers."), *(found for probe in probes for found in _ask(probe, look))]
    return Health(using=alias, at=now, findings=tuple(sorted(findings, key=_worst_first)))


def _ask(probe: Probe, look: Look) -> list[Finding]:
    """A question that fails is a finding, and the others are asked nevertheless."""
    try:
        with look.bounded():
            return list(probe(look))
    except (DatabaseError, InterfaceError) as error:
        if not look.connection.in_atomic_block:
            connections[look.using].close_if_unusable_or_obsolete()
        name = probe.__name__.removeprefix("find_").replace("_", " ")
        return [DATABASE.warn(f"The question about {name} failed: {type(error).__name__}.", probe=probe.__name__)]


def _worst_first(finding: Finding) -> tuple[int, int]:
    return -finding.severity, list(KINDS).index(finding.code)
