"""The test project's settings on a database of its own, with this package's workflows."""

import os

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS, VAR_DIR

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
DATABASES["default"]["NAME"] = VAR_DIR / "benchmarks.sqlite3" if IS_SQLITE else "durable_benchmarks"
DATABASES["default"]["CONN_MAX_AGE"] = None
CELERY_BROKER_URL = os.environ.get("DURABLE_BENCH_BROKER_URL", "redis://127.0.0.1:6379/13")
CELERY_DB_REUSE_MAX = 100
LOGGING_CONFIG = None
