"""manage.py durable_tick: the tick for people who have cron, or a loop with --every, instead of Celery beat."""

from __future__ import annotations

import json
import logging
import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections

from django_durable.conf import get_settings
from django_durable.engine import presence
from django_durable.engine.tick import tick
from django_durable.management import arguments

logger = logging.getLogger("django_durable.worker")


def pause(text: str) -> float:
    """Seconds to wait between two ticks."""
    with suppress(ValueError):
        if 0 < float(text) <= threading.TIMEOUT_MAX:
            return float(text)
    raise ArgumentTypeError(f"{text!r} is no positive number of seconds")


class Command(BaseCommand):
    help = "Wake what is due and return the leases of dead workers. Harmless beside any number of others."

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--every", type=pause, default=None, metavar="SECONDS", help="Repeat until interrupted.")
        parser.add_argument("--json", action="store_true", help="Print the overdue queues as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"] or get_settings().database
        if options["every"] is None:
            self._tick(using, options["json"])
        else:
            self._repeat(options["every"], using, options["json"])

    def _repeat(self, every: float, using: str, as_json: bool) -> None:
        """Until SIGTERM or Ctrl-C, which let a running tick end."""
        stop: SimpleQueue[int] = SimpleQueue()  # its put() is reentrant; an Event's set() could wait for its own thread
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: stop.put(number))
        while True:
            try:
                self._tick(using, as_json)
            except Error:
                logger.warning("The tick failed; trying again.", exc_info=True)
            close_old_connections()
            with suppress(Empty):
                stop.get(timeout=every)
                return

    def _tick(self, using: str, as_json: bool) -> None:
        overdue = tick(using=using)
        presence.ticked("durable_tick", using=using)
        self.stdout.write(json.dumps({"overdue": overdue}) if as_json else self._told(overdue))

    @staticmethod
    def _told(overdue: list[str]) -> str:
        return f"hinted at: {', '.join(overdue)}" if overdue else "nothing overdue"
