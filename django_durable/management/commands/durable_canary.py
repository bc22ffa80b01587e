"""manage.py durable_canary: run the canary through the real dispatcher and workers, and say how fast each part was."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable import client
from django_durable.exceptions import InvalidOptionError
from django_durable.management import arguments


class Command(BaseCommand):
    help = "Start a small workflow of the package's own and wait for it: start, steps, child, signal, timer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--queue", default=None, help="On this queue.")
        parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="Wait so long; default 30.")
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = client.canary(timeout=options["timeout"], queue=options["queue"], using=options["database"])
        except InvalidOptionError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(_data(report)) if options["json"] else _told(report))
        if not report.is_ok:
            raise CommandError(f"No {report.failed} within {options['timeout']:g} s. {report.fix}")


def _data(report: client.CanaryReport) -> dict[str, Any]:
    return {
        "execution_id": str(report.execution_id),
        "ok": report.is_ok,
        "status": report.status,
        "legs": {leg.name: leg.seconds for leg in report.legs},
        "failed": report.failed,
        "fix": report.fix,
    }


def _told(report: client.CanaryReport) -> str:
    lines = [
        f"{leg.name:<13} {'did not happen' if leg.seconds is None else f'{leg.seconds * 1000:.0f} ms'}"
        for leg in report.legs
    ]
    return "\n".join([f"canary {report.execution_id}: {report.status}", *lines])
