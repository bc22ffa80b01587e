"""What a test can see of an execution from outside: its trace, its row, its holder."""

from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection

from django_durable import client
from django_durable.models import Execution
from tests.celery.processes import Fleet


class Event(NamedTuple):
    """One line of a trace; ``parent`` is the main process of a prefork worker's child."""

    what: str
    pid: int
    parent: int
    at: float


class Trace:
    """What the workflows of a test did, and the gates that hold their steps up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def events(self) -> list[Event]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Event(what, int(pid), int(parent), float(at)) for what, pid, parent, at in map(str.split, lines)]

    def of(self, what: str) -> list[Event]:
        return [event for event in self.events() if event.what == what]

    def open(self, gate: str) -> None:
        Path(f"{self.path}.{gate}.open").touch()


def finished(execution: Any) -> bool:
    return client.get(execution).is_closed


def result_of(fleet: Fleet, execution: Any) -> Any:
    """The workflow's result; fails with the logs if it does not come."""
    fleet.eventually(lambda: finished(execution), f"{execution} ends; it is {client.inspect(execution)}")
    return client.result(execution)


def holder_pid(execution: Any) -> int:
    """The process that holds the execution now; 0 if none does."""
    timer = getattr(Execution.objects.select_related("timer").get(pk=execution.pk), "timer", None)
    return int(timer.holder.split(":")[1]) if timer is not None and timer.token is not None else 0


def sessions() -> list[str]:
    """What the other connections to this PostgreSQL database are doing: ``idle``, ``active``, ..."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT state FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return [state for (state,) in cursor.fetchall()]
