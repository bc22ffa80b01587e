"""Settings of the test project.

``DURABLE_TEST_DATABASE`` picks the database: ``sqlite`` (default), ``postgres`` or ``mariadb``. The two servers are
looked for on this machine; ``DURABLE_TEST_POSTGRES_HOST`` (``_PORT``, ``_USER``, ``_PASSWORD``) and the same names
with ``MARIADB`` say otherwise. ``DURABLE_TEST_DB_SUFFIX`` keeps two runs on one machine apart.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django

from django_durable.beat import beat_schedule

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"  # everything that is written at run time; git ignores it
VAR_DIR.mkdir(exist_ok=True)

SECRET_KEY = "only-for-the-test-project"
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]


def database(name: str, suffix: str = os.environ.get("DURABLE_TEST_DB_SUFFIX", "")) -> dict[str, Any]:
    """Build the ``DATABASES`` entry of one of the databases that the suite runs on."""
    if name == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": VAR_DIR / f"durable{suffix}.sqlite3",
            # IMMEDIATE: a transaction that reads and then writes must queue for the lock, not fail half-way.
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
            # A file, not memory: the threads and child processes of a test must see the same database.
            "TEST": {"NAME": VAR_DIR / f"test_durable{suffix}.sqlite3"},
        }
    if name == "postgres":
        return _server(name, suffix, engine="postgresql", port="5432", user="postgres", options={"connect_timeout": 5})
    if name == "mariadb":
        options = {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 5}
        entry = _server(name, suffix, engine="mysql", port="3306", user="root", options=options)
        entry["TEST"]["CHARSET"] = "utf8mb4"
        return entry
    raise ValueError(f"DURABLE_TEST_DATABASE={name!r}: choose sqlite, postgres or mariadb.")


def _server(name: str, suffix: str, *, engine: str, port: str, user: str, options: dict[str, Any]) -> dict[str, Any]:
    prefix = f"DURABLE_TEST_{name.upper()}"
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": f"durable{suffix}",
        "HOST": os.environ.get(f"{prefix}_HOST", "127.0.0.1"),
        "PORT": os.environ.get(f"{prefix}_PORT", port),
        "USER": os.environ.get(f"{prefix}_USER", user),
        "PASSWORD": os.environ.get(f"{prefix}_PASSWORD", ""),
        "OPTIONS": options,
        "TEST": {"NAME": f"test_durable{suffix}"},
    }


DATABASES = {"default": database(os.environ.get("DURABLE_TEST_DATABASE", "sqlite"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

HAS_CELERY_BEAT = find_spec("django_celery_beat") is not None

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_durable",
    # Not on Django 6.1, which its releases so far refuse.
    *(["django_celery_beat"] if HAS_CELERY_BEAT else []),
    "testproject.shop",
    # What the crash and race tests write with; an installed copy of this project has no tests.
    *(["tests.ledger_app"] if (BASE_DIR / "tests" / "ledger_app").is_dir() else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "testproject.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

EMAIL = "django.core.mail.backends.console.EmailBackend"
if django.VERSION >= (6, 1):  # which deprecates the single setting
    MAILERS: dict[str, dict[str, Any]] = {"default": {"BACKEND": EMAIL}}
else:
    EMAIL_BACKEND = EMAIL

# What the shop puts before the paths of links in mails, and who gets mail from it beside its customers.
SHOP_URL = "http://127.0.0.1:8000"
SHOP_KEEPER = "keeper@shop.example"
SUPPLIER = "supplier@shop.example"

# Where the shop finds its payment service: it serves one itself.
PAYMENT_URL = f"{SHOP_URL}/payment/"

# Whether the shop's page may kill workers, and where `manage.py demo` lives; demo_settings says.
DEMO = False
DEMO_DIR = VAR_DIR / "demo"
DEMO_PORT = 8000

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = TIME_ZONE
if HAS_CELERY_BEAT:
    CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"  # `migrate` makes the tick's entry
else:
    CELERY_BEAT_SCHEDULE = beat_schedule()
