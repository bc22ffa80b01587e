"""Setting the demo up: its directory, a migrated and seeded database, and the processes that make it a site."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction

from testproject.shop.demo.processes import Process, Supervisor, celery_command, django_command
from testproject.shop.models import Customer, Order, PaymentBehaviour, Product
from testproject.shop.worker_control import worker_pid_file
from testproject.shop.workflows import fulfil, stock

LOGIN = ("admin", "admin")
PRODUCTS = (("Teapot", "24.50", 12), ("Lantern", "39.00", 8), ("Umbrella", "18.90", 20))
FIRST_CUSTOMERS = (("Grace", "grace@shop.example"), ("Alan", "alan@shop.example"))


def fresh_environment(var_dir: Path, port: int | None) -> dict[str, str]:
    """A new directory below ``var_dir``, and the environment of every process of one demo."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=var_dir))
    for name in ("broker", "control", "mail", "tmp"):
        (folder / name).mkdir()
    project = str(var_dir.parent)
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "testproject.demo_settings",
        "DURABLE_DEMO_DIR": str(folder),
        "DURABLE_DEMO_PORT": str(port or free_port()),
        "PYTHONPATH": os.pathsep.join(filter(None, [project, os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder / "tmp"),  # the broker moves messages there: on one file system that is a rename
    }


def free_port(wanted: int = 0) -> int:
    """The wanted port if nobody listens on it, else any; 0 asks for any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seed(*, with_orders: bool) -> None:
    """Tables, a superuser, things to buy, and a few orders and the stock watch to look at."""
    call_command("migrate", verbosity=0, interactive=False)
    get_user_model().objects.create_superuser(LOGIN[0], "admin@shop.example", LOGIN[1])
    products = [Product.objects.create(name=name, price=Decimal(price), stock=stock) for name, price, stock in PRODUCTS]
    # Slow enough that a person can see a charge running, and kill it.
    PaymentBehaviour.objects.create(pk=1, slow_seconds=4 if with_orders else 0)
    if with_orders:
        stock.watch.using(key=stock.KEY).start()
        for (name, email), product in zip(FIRST_CUSTOMERS, products, strict=False):
            _order(Customer.objects.create(name=name, email=email), product)


def _order(customer: Customer, product: Product) -> None:
    with transaction.atomic():
        order = Order.objects.create(customer=customer, product=product, quantity=1, amount=product.price)
        fulfil.using(key=order.execution_key, subject=order).start(order.pk)


def start(supervisor: Supervisor) -> None:
    """The web server, one Celery worker with two pool processes, and beat."""
    logs, pid_file = settings.DEMO_DIR, worker_pid_file()
    web = django_command("runserver", "--noreload", "--insecure", f"127.0.0.1:{settings.DEMO_PORT}")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    # A killed worker cannot remove its pid file; the new one replaces it because that process is gone.
    worker = celery_command("worker", "--concurrency=2", "--loglevel=INFO", f"--pidfile={pid_file}", *alone)
    beat = celery_command("beat", "--loglevel=INFO", "--pidfile=", f"--schedule={logs / 'beat-schedule'}")
    for name, command in (("web server", web), ("worker", worker), ("beat", beat)):
        supervisor.start(Process(name, command, logs / f"{name.replace(' ', '-')}.log"))


def remove() -> None:
    """Delete the demo's directory with all it wrote."""
    shutil.rmtree(settings.DEMO_DIR, ignore_errors=True)
