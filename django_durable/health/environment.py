"""Settings and surroundings: the system checks, once more, and what a check cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings as django_settings
from django.core.checks import ERROR, CheckMessage, run_checks

from django_durable import checks, clock
from django_durable.health.findings import Finding, kind
from django_durable.health.look import Look, database_now

SKEW_SECONDS = 2.0

CHECKS = kind(
    "checks",
    "Do the system checks of this package pass?",
    warning="one of them warns",
    critical="one of them reports an error",
    fix="The check says; its id is explained in the reference.",
)
CLOCK = kind(
    "clock",
    "Do the clocks of this host and the database agree?",
    warning=f"they differ by more than {SKEW_SECONDS:.0f} s",
    fix="Run a time service (chrony, systemd-timesyncd) on both. Nothing fires early or late: executions go by the "
    "database's clock. Times in logs are this host's.",
)
DEBUG = kind(
    "debug",
    "Is `DEBUG` off?",
    warning="it is on: Django keeps every statement of a process in memory",
    fix="Set DEBUG = False where workers run.",
)


def find_checks(look: Look) -> Iterator[Finding]:
    """Those without queries, and that of the isolation level; the others read whole tables."""
    messages: list[CheckMessage] = run_checks(tags=["durable"], databases=[])  # Django 6.1 takes none for all
    messages += checks.check_isolation(databases=[look.using])
    for message in messages:
        grade = CHECKS.alarm if message.level >= ERROR else CHECKS.warn
        yield grade(f"{message.id}: {message.msg}", fix=str(message.hint or ""), id=message.id)
    if not messages:
        yield CHECKS.ok("All pass.")


def find_clock(look: Look) -> Iterator[Finding]:
    before, started = clock.now(), clock.monotonic()
    of_database = database_now(look.using)
    middle = before + timedelta(seconds=(clock.monotonic() - started) / 2)
    skew = (middle - of_database).total_seconds()
    what = f"This host's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's."
    grade = CLOCK.warn if abs(skew) > SKEW_SECONDS else CLOCK.ok
    yield grade(what, skew_seconds=round(skew, 3))


def find_debug(look: Look) -> Iterator[Finding]:
    yield DEBUG.warn("DEBUG is on.") if django_settings.DEBUG else DEBUG.ok("It is off.")
