"""manage.py durable_sync_schedules: what ``migrate`` does about declared schedules, by hand."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable import client
from django_durable.exceptions import DurableError
from django_durable.management import arguments


class Command(BaseCommand):
    help = (
        "Bring the schedules in the database in step with what workflows declare: make, change and remove them. A "
        "pause stays. Harmless beside others that do the same."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--dry-run", action="store_true", help="Write nothing; say what would be done.")
        parser.add_argument(
            "--remove-unknown", action="store_true", help="Remove those too whose workflows are not registered here."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = client.sync_schedules(
                dry_run=options["dry_run"], remove_unknown=options["remove_unknown"], using=options["database"]
            )
        except (DurableError, TypeError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
            return
        self.stdout.write("\n".join([*report.lines(), f"{len(report.unchanged)} as they were"]))
