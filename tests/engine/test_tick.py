"""The tick: what it finds, what it hints at, and what it costs when there is nothing to do."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import Context, clock, dispatch, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import holders
from django_durable.engine.tick import tick
from django_durable.models import Timer

pytestmark = pytest.mark.django_db
LIVING, DEAD = holders.this_process(), f"{holders.machine()}:1:0"
ELSEWHERE = "another-machine:1:0"


class Heard:
    """A dispatcher that only takes notes."""

    def __init__(self) -> None:
        self.drains: list[str] = []
        self.wakes: list[Any] = []
        self.later: list[tuple[str, float]] = []

    def wake(self, execution_id: Any, *, queue: str, using: str) -> None:
        self.wakes.append(execution_id)

    def drain(self, queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
        if delay_seconds:
            self.later.append((queue, delay_seconds))
        else:
            self.drains.append(queue)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    heard = Heard()
    monkeypatch.setattr(dispatch, "import_string", lambda path: lambda: heard)
    dispatch.get_dispatcher.cache_clear()
    yield heard
    monkeypatch.undo()
    dispatch.get_dispatcher.cache_clear()


@pytest.fixture
def execution(heard: Heard) -> Callable[..., Any]:
    @workflow("ticked")
    def ticked(ctx: Context) -> None: ...

    def start(queue: str = "default", **timer: Any) -> Any:
        started = ticked.using(queue=queue).start()
        Timer.objects.filter(pk=started.pk).update(**timer)
        return started

    return start


def leased(holder: str, *, claims: int = 1, seconds: float = 30) -> dict[str, Any]:
    return {
        "token": uuid4(),
        "holder": holder,
        "claims": claims,
        "due_at": DatabaseNow() + timedelta(seconds=seconds),
    }


def in_an_hour() -> Any:
    return DatabaseNow() + timedelta(hours=1)


def test_an_idle_tick_is_three_statements_and_no_write(execution: Any, heard: Heard) -> None:
    for due_at in (in_an_hour(), None):
        execution(due_at=due_at)
    execution(**leased(LIVING))
    execution(**leased(ELSEWHERE))

    with CaptureQueriesContext(connection) as captured:
        assert tick(using="default") == []

    assert len(captured) == 3  # the budget is four
    assert all(query["sql"].lstrip("( ").upper().startswith("SELECT") for query in captured)
    assert (heard.drains, heard.wakes, heard.later) == ([], [], [])


def test_many_sleepers_cost_no_further_statement(execution: Any) -> None:
    for _ in range(30):
        execution(due_at=in_an_hour())

    with CaptureQueriesContext(connection) as captured:
        tick(using="default")

    assert len(captured) == 3


def test_a_backlog_gets_one_hint(execution: Any, heard: Heard) -> None:
    for _ in range(20):
        execution()

    assert tick(using="default") == ["default"]

    assert heard.drains == ["default"]
    assert heard.wakes == []


def test_only_overdue_queues_are_hinted_at(execution: Any, heard: Heard, settings: Any) -> None:
    settings.DURABLE = {"QUEUES": ("default", "mail", "slow")}
    execution(queue="slow")
    execution(queue="mail", due_at=in_an_hour())

    assert tick(using="default") == ["slow"]

    assert set(heard.drains) == {"slow"}


def test_what_is_due_before_the_next_tick_is_told_now(execution: Any, heard: Heard, settings: Any) -> None:
    settings.DURABLE = {"QUEUES": ("default", "mail")}
    with clock.frozen():
        for queue, seconds in (("default", 0.3), ("mail", 1.2), ("mail", 1.5)):
            execution(queue=queue, due_at=DatabaseNow() + timedelta(seconds=seconds))
        execution(**leased(ELSEWHERE, seconds=1))
        tick(using="default")

    assert heard.later == [("default", pytest.approx(0.3, abs=0.021)), ("mail", pytest.approx(1.2, abs=0.021))]
    assert heard.later[0][1] >= 0.3
    assert heard.drains == []


def test_a_crowd_that_is_due_at_once_is_told_once(execution: Any, heard: Heard) -> None:
    with clock.frozen():
        for _ in range(5):
            execution(due_at=DatabaseNow() + timedelta(seconds=1))
        tick(using="default")
    assert len(heard.later) == 1


def test_no_more_is_read_than_workers_could_begin(
    execution: Any, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_durable.engine.tick.MOST_AHEAD", 3)
    with clock.frozen():
        for number in range(5):
            execution(due_at=DatabaseNow() + timedelta(seconds=0.5 + number / 10))
        tick(using="default")
    assert len(heard.later) == 3


def test_ticking_again_changes_nothing(execution: Any) -> None:
    execution()
    before = list(Timer.objects.values())

    assert tick(using="default") == tick(using="default") == ["default"]

    assert list(Timer.objects.values()) == before


def test_the_lease_of_a_dead_process_is_returned_and_its_execution_due(
    execution: Any, heard: Heard, django_capture_on_commit_callbacks: Any
) -> None:
    dead = execution(**leased(DEAD))

    with django_capture_on_commit_callbacks(execute=True):
        tick(using="default")

    assert Timer.objects.filter(due_at__lte=DatabaseNow() + timedelta(seconds=0.01)).exists()
    timer = Timer.objects.get(pk=dead.pk)
    assert (timer.token, timer.holder) == (None, "")
    assert timer.claims == 1  # it stays counted: what kills its workers is found out
    assert heard.wakes == [dead.pk]


@pytest.mark.parametrize(
    "holder", [LIVING, ELSEWHERE, "", "nonsense"], ids=["living", "elsewhere", "nobody", "nonsense"]
)
def test_no_other_lease_is_touched(execution: Any, holder: str) -> None:
    execution(**(leased(holder) if holder else {"due_at": in_an_hour()}))
    before = list(Timer.objects.values())

    tick(using="default")

    assert list(Timer.objects.values()) == before


def test_one_that_keeps_killing_its_workers_waits_longer_each_time(execution: Any) -> None:
    pauses = []
    for claims in (1, 2, 3, 4, 9):
        started = execution(**leased(DEAD, claims=claims))
        tick(using="default")
        timer = Timer.objects.annotate(now=DatabaseNow()).get(pk=started.pk)
        pauses.append(round((timer.due_at - timer.now).total_seconds()))
        Timer.objects.all()._raw_delete(using="default")

    assert pauses == [0, 0, 2, 4, 60]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL shows collations by name")
def test_leases_of_the_dead_are_found_under_any_collation(execution: Any) -> None:
    """A range like 'machine:' .. 'machine;' is empty where punctuation is ignored at first."""
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE {Timer._meta.db_table} ALTER COLUMN holder TYPE varchar(120) COLLATE "en-x-icu"')
    dead = execution(**leased(DEAD))

    tick(using="default")

    assert Timer.objects.get(pk=dead.pk).token is None


def test_under_a_frozen_clock_due_is_what_that_clock_says(execution: Any) -> None:
    with clock.frozen() as time:
        execution(due_at=DatabaseNow() + timedelta(seconds=10))
        assert tick(using="default") == []
        time.advance(timedelta(seconds=11))
        assert tick(using="default") == ["default"]
