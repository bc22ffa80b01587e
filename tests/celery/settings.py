"""Settings of the worker and beat processes that the tests here start; `processes.py` fills the environment."""

import os

from django_durable.beat import beat_schedule
from django_durable.engine import holders
from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS
from tests.celery.transport import transport_options

DATABASES["default"]["NAME"] = os.environ["DURABLE_TEST_DATABASE_NAME"]
INSTALLED_APPS += os.environ["DURABLE_TEST_APPS"].split()
DURABLE = {
    "DISPATCHER": os.environ.get("DURABLE_TEST_DISPATCHER", "django_durable.tasks.CeleryDispatcher"),
    "LEASE_SECONDS": float(os.environ.get("DURABLE_TEST_LEASE_SECONDS", "30")),
}
if "DURABLE_TEST_MACHINE" in os.environ:  # as in another container, whose process table is another
    holders.machine = lambda: os.environ["DURABLE_TEST_MACHINE"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django_durable": {"handlers": ["console"], "level": "INFO"}},
}

CELERY_TASK_DEFAULT_QUEUE = os.environ["DURABLE_TEST_QUEUE"]
CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(CELERY_TASK_DEFAULT_QUEUE)
CELERY_RESULT_BACKEND = None  # nothing here may need one
CELERY_DB_REUSE_MAX = int(os.environ.get("DURABLE_TEST_DB_REUSE_MAX", "0"))  # tasks per database connection
CELERY_WORKER_POOL = os.environ.get("DURABLE_TEST_POOL", "prefork")
if "DURABLE_TEST_PLAIN_BEAT" in os.environ:
    CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
    CELERY_BEAT_SCHEDULE = beat_schedule()
