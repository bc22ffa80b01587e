"""manage.py durable_erase: forget what executions about one subject hold."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable import client
from django_durable.exceptions import DurableError
from django_durable.management import arguments


class Command(BaseCommand):
    help = "Remove all payloads, keys and labels of the closed executions about one subject; their rows stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subject_type", help='"app_label.model" of the row that they are about.')
        parser.add_argument("subject_id", help="Its primary key.")
        parser.add_argument("--actor", required=True, help="Who asks for it.")
        parser.add_argument("--reason", required=True, help="Why; it is kept, so it should not name the person.")
        parser.add_argument("--terminate", action="store_true", help="Terminate those that are open first.")
        arguments.add_database(parser)
        parser.add_argument("--json", action="store_true", help="Print the number as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            erased = client.erase(
                (options["subject_type"], options["subject_id"]),
                actor=options["actor"],
                reason=options["reason"],
                terminate=options["terminate"],
                using=options["database"],
            )
        except DurableError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps({"erased": erased}) if options["json"] else f"erased: {erased}")
