"""manage.py durable_worker: threads that claim and advance what is due. No broker.

For development, SQLite and small sites; on many machines let Celery's workers do it.
"""

from __future__ import annotations

import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable.conf import get_settings
from django_durable.engine import holders
from django_durable.engine.embedded import EmbeddedWorker
from django_durable.engine.presence import Announcer, Presence
from django_durable.engine.queues import known_queues
from django_durable.engine.worker import release_dead
from django_durable.management import arguments
from django_durable.models import NodeKind


class Command(BaseCommand):
    help = "Run due executions in threads of this process, and tick. Needs no broker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument("--threads", type=int, default=2, help="How many executions at a time; default 2.")
        parser.add_argument("--queue", action="append", dest="queues", help="Only this queue; may be repeated.")
        parser.add_argument(
            "--name",
            default=f"durable_worker@{socket.gethostname()}",
            help="Node name: who starts under it takes back what its killed predecessors held; default by host name.",
        )
        parser.add_argument("--until-idle", action="store_true", help="Stop when nothing is due.")

    def handle(self, *args: Any, **options: Any) -> None:
        queues = options["queues"] or known_queues()
        unknown = sorted(set(queues) - set(known_queues()))
        if unknown or options["threads"] < 1:
            raise CommandError(f"Unknown queues {unknown}, or fewer than one thread. Known: {known_queues()}.")
        using = options["database"] or get_settings().database
        worker = EmbeddedWorker(queues=queues, threads=options["threads"], using=using)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        holders.join(options["name"])
        release_dead(using=using, is_starting=True)
        self.stdout.write(f"durable worker on {', '.join(queues)}; Ctrl-C finishes the running steps and stops")
        announcer = Announcer(
            Presence(
                kind=NodeKind.WORKER, name=options["name"], source="durable_worker", using=using, queues=lambda: queues
            )
        )
        announcer.start()
        try:
            passes = worker.run(until_idle=options["until_idle"])
        finally:
            announcer.stop()
        self.stdout.write(f"stopped after {passes} passes")
