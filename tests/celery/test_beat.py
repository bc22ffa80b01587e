"""The tick's entry: for plain beat as a dict, for django-celery-beat as a row made by ``migrate``."""

from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections

from django_durable import beat, client, tasks
from django_durable.models import Timer
from tests.celery.observing import Trace, result_of
from tests.celery.processes import Fleet
from tests.celery.workflows import mixed

with_celery_beat = pytest.mark.skipif(
    not apps.is_installed("django_celery_beat"), reason="django-celery-beat is not installed: it caps Django below 6.1"
)


def periodic_tasks() -> Any:
    return apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task=beat.TASK)


def test_the_entry_names_a_registered_task_and_drops_what_is_late() -> None:
    (entry,) = beat.beat_schedule().values()

    assert entry["task"] == tasks.tick.name
    assert entry["schedule"] == 1.0
    assert entry["args"] == []
    assert entry["options"] == {"expires": 86400, "ignore_result": True}


def test_the_entry_may_name_another_database() -> None:
    (entry,) = beat.beat_schedule(using="other").values()

    assert entry["args"] == ["other"]


def test_the_task_ticks_on_the_configured_database(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks, "run_tick", lambda *, using: asked.append(using))
    monkeypatch.setattr(tasks.presence, "ticked", lambda source, *, using: None)
    monkeypatch.setattr(tasks, "_ticked_at", {})

    tasks.tick()
    tasks.tick("other")

    assert asked == ["default", "other"]


@with_celery_beat
@pytest.mark.django_db
def test_migrate_makes_the_periodic_task_once() -> None:
    call_command("migrate", verbosity=0)

    entry = periodic_tasks().get()
    assert (entry.interval.every, entry.interval.period) == (1, "seconds")
    assert entry.enabled
    assert entry.expire_seconds == 86400
    assert entry.args == "[]"


@with_celery_beat
@pytest.mark.django_db
def test_what_an_operator_changed_in_it_stays() -> None:
    periodic_tasks().update(enabled=False, name="our tick", expire_seconds=5)

    beat.ensure_periodic_task(using="default")

    assert periodic_tasks().values_list("enabled", "name", "expire_seconds").get() == (False, "our tick", 5)


@with_celery_beat
@pytest.mark.django_db
def test_an_interval_that_is_there_already_is_shared_even_if_it_is_there_twice() -> None:
    intervals = apps.get_model("django_celery_beat", "IntervalSchedule").objects
    periodic_tasks().delete()
    intervals.create(every=1, period="seconds")
    intervals.create(every=1, period="seconds")

    beat.ensure_periodic_task(using="default")

    assert periodic_tasks().count() == 1


@with_celery_beat
@pytest.mark.django_db
def test_nothing_is_made_while_its_tables_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apps migrate in one run, but ``migrate django_durable`` alone must not fail."""
    periodic_tasks().delete()
    monkeypatch.setattr(connections["default"].introspection, "table_names", lambda *args, **kwargs: [])

    beat.ensure_periodic_task(using="default")

    assert not periodic_tasks().exists()


@with_celery_beat
@pytest.mark.django_db
def test_a_database_that_the_router_keeps_it_from_is_left_alone(settings: Any) -> None:
    class Elsewhere:
        def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
            return app_label != "django_celery_beat"

    periodic_tasks().delete()
    settings.DATABASE_ROUTERS = [Elsewhere()]

    beat.ensure_periodic_task(using="default")

    assert not periodic_tasks().exists()


@with_celery_beat
@pytest.mark.django_db
def test_only_the_database_that_beat_reads_has_the_entry(settings: Any) -> None:
    """A second database that holds all tables: its migrations end here, too, and beat never looks there."""

    class Elsewhere:
        def db_for_write(self, model: type, **hints: Any) -> str:
            return "elsewhere"

    periodic_tasks().delete()
    settings.DATABASE_ROUTERS = [Elsewhere()]

    beat.ensure_periodic_task(using="default")

    assert not periodic_tasks().using("default").exists()


def test_without_django_celery_beat_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: False)

    beat.ensure_periodic_task(using="default")  # and no database is touched


@with_celery_beat
@pytest.mark.celery
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_the_database_scheduler_ticks_by_the_migrated_entry(fleet: Fleet, trace: Trace, settings: Any) -> None:
    lossy = "tests.celery.dispatchers.LosesWakes"
    settings.DURABLE = {"DISPATCHER": lossy}
    assert periodic_tasks().count() == 1
    fleet.worker("threads", DURABLE_TEST_DISPATCHER=lossy)
    scheduler = fleet.beat()

    execution = mixed.start(str(trace))
    client.signal(execution, "go", True)

    assert result_of(fleet, execution)["answer"] is True
    assert "DatabaseScheduler" in scheduler.text()
    assert periodic_tasks().get().total_run_count or "Sending due task" in scheduler.text()
    assert not Timer.objects.exists()
