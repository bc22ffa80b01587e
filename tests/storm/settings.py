"""Settings of the storm and of its workers; ``servers`` and ``crew`` fill the environment.

``default`` is what workers and clients use, through the proxy while it cuts; ``direct`` is for the one who judges.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine
from django.conf import global_settings

from django_durable.beat import beat_schedule
from testproject.settings import *  # noqa: F403
from testproject.settings import INSTALLED_APPS, database
from tests.engine.webhook_server import ALLOWED as WEBHOOKS_TO_THIS_MACHINE

VENDOR = os.environ["STORM_DATABASE"]
FOLDER = Path(os.environ["STORM_FOLDER"])
BACKENDS = {"postgres": "postgresql", "mariadb": "mysql", "sqlite": "sqlite3"}


def _entry(user: str, port: str, **changes: str) -> dict[str, object]:
    entry = database(VENDOR)
    if VENDOR == "sqlite":
        return {**entry, "NAME": FOLDER / "storm.sqlite3", **changes}
    return {**entry, "NAME": "storm", "USER": user, "HOST": "127.0.0.1", "PORT": port, "PASSWORD": "", **changes}


_direct = os.environ.get("STORM_DIRECT_PORT", "")
DATABASES = {
    "default": _entry(
        "storm",
        os.environ.get("STORM_PORT", _direct),
        **({"ENGINE": f"tests.storm.backends.{BACKENDS[VENDOR]}"} if "STORM_ERRORS" in os.environ else {}),
    ),
    "direct": _entry({"postgres": "postgres"}.get(VENDOR, "root"), _direct),
}
INSTALLED_APPS += ["tests.storm"]
DURABLE = {"LEASE_SECONDS": 3.0, "ARCHIVE": "archive", **WEBHOOKS_TO_THIS_MACHINE}
STORAGES = {
    **global_settings.STORAGES,
    "archive": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": FOLDER / "archive"},
    },
}

CELERY_BROKER_URL = os.environ["STORM_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = "storm"
CELERY_RESULT_BACKEND = None
CELERY_DB_REUSE_MAX = int(os.environ.get("STORM_REUSE", "0"))  # tasks per database connection
CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
CELERY_BEAT_SCHEDULE = beat_schedule()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {
        name: {"level": "WARNING"} for name in ("celery.app.trace", "celery.worker.strategy", "django_durable")
    },
}

if offset := float(os.environ.get("STORM_CLOCK_SECONDS", "0")):
    time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset), tick=True).start()
