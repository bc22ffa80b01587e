"""The test project's settings on a database of its own, with this package's workflows."""

import os

from django_durable.beat import beat_schedule
from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS, VAR_DIR

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
SUFFIX = os.environ.get("DURABLE_TEST_DB_SUFFIX", "")
DATABASES["default"]["NAME"] = VAR_DIR / f"benchmarks{SUFFIX}.sqlite3" if IS_SQLITE else f"durable_benchmarks{SUFFIX}"
DATABASES["default"]["CONN_MAX_AGE"] = None
if IS_SQLITE:  # `manage.py durable_worker` polls; no broker
    DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}
DATABASES["empty"] = {**DATABASES["default"], "NAME": f"{DATABASES['default']['NAME']}_empty"}  # see measures.twins
CELERY_BROKER_URL = os.environ.get("DURABLE_BENCH_BROKER_URL", "redis://127.0.0.1:6379/13")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("DURABLE_BENCH_QUEUE", "durable-benchmarks")
CELERY_DB_REUSE_MAX = 100
CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
CELERY_BEAT_SCHEDULE = beat_schedule()
LOGGING_CONFIG = None
