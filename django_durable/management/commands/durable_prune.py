"""manage.py durable_prune: delete what is expired, in batches, until there is no more or the time is up."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.engine import offloading, retention
from django_durable.engine.retention import BATCH, Wanted
from django_durable.exceptions import DurableError
from django_durable.management import arguments
from django_durable.models import CLOSED


def moment(text: str) -> datetime:
    """A time with its zone."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise ArgumentTypeError(f"{text!r} is no time with a zone, like 2026-01-31T00:00:00+00:00")
    return found


def size(text: str) -> int:
    """Executions of one transaction."""
    if text.isdecimal() and 1 <= int(text) <= 10 * BATCH:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no number from 1 to {10 * BATCH}")


class Command(BaseCommand):
    help = (
        "Delete the closed executions and audit entries that retention= and DURABLE no longer keep, after they were "
        "archived where there is an archive. Open ones, and what they read, are never touched. Harmless beside workers "
        "and other prunes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--batch-size", type=size, default=BATCH, help=f"Default {BATCH}.")
        parser.add_argument("--before", type=moment, help="Whatever ended earlier, instead of what the policies say.")
        parser.add_argument("--workflow", help="Only executions of this one.")
        parser.add_argument("--status", choices=sorted(CLOSED), help="Only those that ended so.")
        parser.add_argument("--max-seconds", type=float, default=float("inf"), help="No batch is begun after that.")
        parser.add_argument("--dry-run", action="store_true", help="Delete nothing; say how many would be.")
        parser.add_argument("--orphans", action="store_true", help="Delete payload files without a row, instead.")
        parser.add_argument("--json", action="store_true", help="Print the numbers as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"] or get_settings().database
        wanted = Wanted(workflow=options["workflow"], status=options["status"], before=options["before"])
        try:
            if options["dry_run"]:
                told = self._count(wanted, using)
            elif options["orphans"]:
                told = {"files": offloading.sweep(ends_at=clock.monotonic() + options["max_seconds"])}
            else:
                told = self._prune(wanted, using, options["batch_size"], options["max_seconds"])
        except DurableError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(told) if options["json"] else _text(told))

    def _count(self, wanted: Wanted, using: str) -> dict[str, Any]:
        counted = retention.count(wanted, using=using)
        groups = [{"workflow": name, "status": status, "count": number} for (name, status), number in counted.items()]
        return {"would_delete": sum(counted.values()), "groups": groups}

    def _prune(self, wanted: Wanted, using: str, batch_size: int, seconds: float) -> dict[str, Any]:
        ends_at = clock.monotonic() + seconds
        told: dict[str, Any] = {"deleted": 0, "batches": 0, "audit_entries": 0}
        told |= {"webhook_deliveries": 0, "archives": []}
        is_last = False
        while not is_last and clock.monotonic() < ends_at:
            batch = retention.prune(wanted, size=batch_size, using=using)
            told["deleted"] += batch.deleted
            told["batches"] += batch.deleted > 0
            told["archives"] += [batch.archive] if batch.archive else []
            is_last = batch.is_last
        others = {"audit_entries": retention.prune_audit, "webhook_deliveries": retention.prune_webhooks}
        for name, prune in others.items() if wanted == Wanted() else ():
            while clock.monotonic() < ends_at:
                deleted = prune(size=batch_size, using=using)
                told[name] += deleted
                if deleted < batch_size:
                    break
        return told


def _text(told: dict[str, Any]) -> str:
    lines = [f"{group['count']:8} {group['workflow']} {group['status']}" for group in told.pop("groups", [])]
    return "\n".join([*lines, ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in told.items())])
