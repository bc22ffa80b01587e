"""manage.py durable_export: one recorded history as a file, to be replayed by later code."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from django_durable.conf import get_settings
from django_durable.engine import recordings
from django_durable.exceptions import ExecutionNotFoundError
from django_durable.management import arguments


class Command(BaseCommand):
    help = (
        "Write the input and the history of one execution as JSON, for `durable_replay --file`. The payloads in it are "
        'secrets: they are in plain text, whatever DURABLE["PAYLOAD_CIPHER"] does in the tables.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=UUID, help="Of the execution.")
        parser.add_argument(
            "--output", default=None, metavar="FILE", help="Default standard output. A new file is its owner's only."
        )
        arguments.add_database(parser, dest="using")

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["using"] or get_settings().database
        try:
            recording = recordings.read(options["id"], using=using)
        except ExecutionNotFoundError as error:
            raise CommandError(str(error)) from error
        text = json.dumps(recordings.exported(recording), indent=1)
        if options["output"] is None:
            self.stdout.write(text)
            return
        try:
            with open(options["output"], "w", encoding="utf-8", opener=_for_the_owner_only) as file:
                file.write(text + "\n")
        except OSError as error:
            raise CommandError(f"--output: {error}") from error


def _for_the_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
