"""``python -m tests.storm.pruner``: ``durable_prune`` again and again, as from a cron that has no patience."""

from __future__ import annotations

import logging
import time

import django
from django.core.management import call_command
from django.db import Error, connection

PAUSE_SECONDS = 0.5
BATCH = 20  # so that there are many
READY = "prunes"


def main() -> None:
    django.setup()
    print(READY, flush=True)
    while True:
        try:
            call_command("durable_prune", batch_size=BATCH)
        except Error:  # the database is away, or says that it is
            logging.exception("The prune failed")
            connection.close()
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
