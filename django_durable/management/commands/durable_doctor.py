"""manage.py durable_doctor: what is wrong, the worst first, each with what to do about it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable import health
from django_durable.health import Finding, Health, Severity
from django_durable.management import arguments

FAIL_ON = {severity.label: severity for severity in (Severity.WARNING, Severity.CRITICAL)}


class Command(BaseCommand):
    help = "Look at the database, the workers, the tick and the settings; say what is wrong and how to mend it."
    requires_system_checks = ()  # they are among the findings

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--celery", action="store_true", help="Also ask Celery's broker; a second at most.")
        parser.add_argument(
            "--fail-on", choices=tuple(FAIL_ON), default="critical", help="Exit with 1 for these; default critical."
        )
        parser.add_argument("--json", action="store_true", help="Print everything as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = health.report(options["database"], asks_broker=options["celery"])
        self.stdout.write(json.dumps(_data(found), default=str) if options["json"] else self._told(found))
        if found.severity >= FAIL_ON[options["fail_on"]]:
            raise CommandError(f"The state is {found.severity.label}.")

    def _told(self, found: Health) -> str:
        return "\n".join(line for finding in found.findings for line in self._lines(finding))

    def _lines(self, finding: Finding) -> list[str]:
        paint = {
            Severity.OK: self.style.SUCCESS,
            Severity.WARNING: self.style.WARNING,
            Severity.CRITICAL: self.style.ERROR,
        }[finding.severity]
        line = f"{paint(f'{finding.severity.label:<8}')}  {finding.code:<20}  {finding.what}"
        return [line, f"{'':<32}{finding.fix}"] if finding.fix else [line]


def _data(found: Health) -> dict[str, Any]:
    return {
        "database": found.using,
        "at": found.at.isoformat() if found.at else None,
        "status": found.severity.label,
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity.label,
                "what": finding.what,
                "fix": finding.fix,
                "data": dict(finding.data),
            }
            for finding in found.findings
        ],
    }
