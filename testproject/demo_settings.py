"""Settings of ``manage.py demo``: one directory holds the database, the broker, the mail and the logs.

The command makes that directory and hands it to every process that it starts by ``DURABLE_DEMO_DIR``.
"""

import os
from pathlib import Path

import django

from testproject.settings import *  # noqa: F403
from testproject.settings import VAR_DIR, database

DEMO = True
DEMO_DIR = Path(os.environ.get("DURABLE_DEMO_DIR", VAR_DIR / "demo"))
DEMO_PORT = int(os.environ.get("DURABLE_DEMO_PORT", "8000"))

DATABASES = {"default": {**database("sqlite"), "NAME": DEMO_DIR / "shop.sqlite3"}}

_MAIL = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _MAIL, "OPTIONS": {"file_path": str(DEMO_DIR / "mail")}}}
else:
    EMAIL_BACKEND, EMAIL_FILE_PATH = _MAIL, str(DEMO_DIR / "mail")
SHOP_URL = f"http://127.0.0.1:{DEMO_PORT}"
PAYMENT_URL = f"{SHOP_URL}/payment/"

# The embedded broker: messages are files in a directory. For one machine and a demo, not for a site.
CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT = "testproject.shop.demo.transport:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(DEMO_DIR / "broker"),
    "data_folder_out": str(DEMO_DIR / "broker"),
    "control_folder": str(DEMO_DIR / "control"),
    "polling_interval": 0.1,
}
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # its broadcast would be one more polled directory
