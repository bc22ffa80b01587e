"""manage.py durable_tick: the tick for people who have cron, or a loop with --every, instead of Celery beat."""

from __future__ import annotations

import json
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections, connections

from django_durable.conf import get_settings
from django_durable.engine.tick import tick


class Command(BaseCommand):
    help = "Wake what is due and return the leases of dead workers. Harmless beside any number of others."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database", choices=tuple(connections), default=None, help='Alias; default DURABLE["DATABASE"].'
        )
        parser.add_argument("--every", type=float, default=None, metavar="SECONDS", help="Repeat until interrupted.")
        parser.add_argument("--json", action="store_true", help="Print the overdue queues as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"] or get_settings().database
        pause = threading.Event()
        while True:
            overdue = tick(using=using)
            self.stdout.write(json.dumps({"overdue": overdue}) if options["json"] else self._told(overdue))
            if options["every"] is None:
                return
            close_old_connections()
            pause.wait(options["every"])

    @staticmethod
    def _told(overdue: list[str]) -> str:
        return f"hinted at: {', '.join(overdue)}" if overdue else "nothing overdue"
