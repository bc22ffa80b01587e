"""``manage.py demo``: the shop in the browser, or its story told by itself."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from testproject.shop.demo import site
from testproject.shop.demo.processes import Supervisor
from testproject.shop.demo.shopper import Shopper
from testproject.shop.demo.story import Story, StoryFailed


class Command(BaseCommand):
    help = "Runs the shop with a web server, a Celery worker and beat; nothing has to be installed for it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--headless", action="store_true", help="play the story and check how it ended")
        parser.add_argument("--port", type=int, help="of the web server; default 8000 if nobody has it")

    def handle(self, *, headless: bool, port: int | None, **_: Any) -> None:
        if "DURABLE_DEMO_DIR" not in os.environ:
            self._begin_again(headless, port)
        self._started_at = time.monotonic()
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, _leave)
        supervisor = Supervisor(self._tell)
        atexit.register(supervisor.stop)
        try:
            site.seed(with_orders=not headless)
            site.start(supervisor)
            (self._play if headless else self._serve)(supervisor)
        except (StoryFailed, RuntimeError) as failure:
            raise CommandError(f"{failure}. The logs are in {settings.DEMO_DIR}") from failure
        except SystemExit:
            self._tell("stopping")
            supervisor.stop()
            site.remove()
            raise
        finally:
            supervisor.stop()
        site.remove()

    def _begin_again(self, headless: bool, port: int | None) -> None:
        """Become a process with the demo's settings, whatever settings this one has."""
        wanted = port or site.free_port(0 if headless else 8000)
        environment = site.fresh_environment(settings.VAR_DIR, wanted)
        arguments = ["demo", *(["--headless"] if headless else [])]
        os.execve(sys.executable, [sys.executable, "-m", "django", *arguments], environment)  # noqa: S606

    def _play(self, supervisor: Supervisor) -> None:
        Story(self._shopper(), supervisor, self._tell).play()
        self._tell("all is right")

    def _serve(self, supervisor: Supervisor) -> None:
        shopper = self._shopper()
        while not shopper.is_open():
            supervisor.sleep(0.3)
        name, password = site.LOGIN
        self.stdout.write(f"\n  The shop      {shopper.url}\n  Its admin     {shopper.url}admin/")
        self.stdout.write(f"  Login         {name} / {password}\n  Logs, mail    {settings.DEMO_DIR}")
        self.stdout.write("  Ctrl-C ends it and removes everything.\n\n")
        while True:
            supervisor.sleep(1)

    def _shopper(self) -> Shopper:
        return Shopper(f"http://127.0.0.1:{settings.DEMO_PORT}/")

    def _tell(self, text: str) -> None:
        self.stdout.write(f"{time.monotonic() - self._started_at:6.1f} s  {text}")
        self.stdout.flush()


def _leave(number: int, _frame: object) -> None:
    """Unwind, so that ``finally`` ends the children; a second signal must not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0 if number == signal.SIGINT else 128 + number)
