"""``manage.py durable_import_periodic_tasks``: what carries over from django-celery-beat, and what does not."""

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from django_durable import workflow
from django_durable.models import AuditEntry, Schedule

pytestmark = pytest.mark.skipif(
    not apps.is_installed("django_celery_beat"), reason="django-celery-beat is not installed: it caps Django below 6.1"
)


def model(name):
    return apps.get_model("django_celery_beat", name)


@pytest.fixture(autouse=True)
def report(durable):
    @workflow("reports.daily")
    def report(ctx, kind, limit=10):
        return kind


@pytest.fixture
def nightly(report):
    crontab = model("CrontabSchedule").objects.create(minute="0", hour="3", timezone="Europe/Berlin")
    task = model("PeriodicTask").objects
    return task.create(
        name="Nightly report!", task="shop.report", crontab=crontab, args='["sales"]', kwargs='{"limit": 3}'
    )


def told(*arguments):
    out = StringIO()
    call_command("durable_import_periodic_tasks", *arguments, "--json", stdout=out)
    return {row["periodic_task"]: row for row in json.loads(out.getvalue())}


def test_without_a_map_it_only_lists(nightly):
    row = told("--only", nightly.name)[nightly.name]
    assert (row["schedule"], row["done"], row["refused"]) == ("Nightly-report", "", "")
    assert not Schedule.objects.exists()


def test_a_crontab_becomes_a_schedule_with_its_arguments_and_both_live_side_by_side(nightly):
    assert told("--map", "shop.report=reports.daily")[nightly.name]["done"] == "created"
    assert told("--map", "shop.report=reports.daily")[nightly.name]["done"] == "unchanged"
    row = Schedule.objects.get()
    assert (row.name, row.workflow, row.timezone, row.status) == (
        "Nightly-report", "reports.daily", "Europe/Berlin", "active"
    )  # fmt: skip
    assert json.loads(row.input)[1] == {"args": ["sales"], "kwargs": {"limit": 3}}
    assert json.loads(row.cadence)["expression"] == "0 3 * * *"
    nightly.refresh_from_db()
    assert nightly.enabled
    assert AuditEntry.objects.get().actor.startswith("cli:")


def test_the_old_one_is_disabled_when_asked_and_only_if_the_new_one_is_made(nightly):
    with pytest.raises(CommandError, match="could not be made"):
        told("--map", "shop.report=nobody", "--disable")
    nightly.refresh_from_db()
    assert nightly.enabled and not Schedule.objects.exists()
    told("--map", "shop.report=reports.daily", "--disable")
    nightly.refresh_from_db()
    assert not nightly.enabled
    assert Schedule.objects.get().status == "active"


def test_a_disabled_one_is_paused(nightly):
    model("PeriodicTask").objects.filter(pk=nightly.pk).update(enabled=False)
    told("--map", "shop.report=reports.daily")
    assert Schedule.objects.get().paused_reason == "disabled in django-celery-beat"


def test_an_interval_with_its_range(report):
    interval = model("IntervalSchedule").objects.create(every=90, period="minutes")
    model("PeriodicTask").objects.create(
        name="often",
        task="shop.report",
        interval=interval,
        args='["sales"]',
        one_off=True,
        start_time=datetime(2030, 1, 1, tzinfo=UTC),
    )
    told("--map", "shop.report=reports.daily", "--only", "often")
    row = Schedule.objects.get()
    assert (json.loads(row.cadence)["every_seconds"], row.max_runs) == (5400, 1)
    assert row.starts_at == datetime(2030, 1, 1, tzinfo=UTC) <= row.next_at


@pytest.mark.parametrize(
    ("made_of", "why"),
    [
        (lambda: {"solar": model("SolarSchedule").objects.create(event="sunset", latitude=1, longitude=1)}, "sun"),
        (
            lambda: {
                "clocked": model("ClockedSchedule").objects.create(clocked_time=datetime(2030, 1, 1, tzinfo=UTC)),
                "one_off": True,
            },
            "client.schedule",
        ),
        (lambda: {"crontab": model("CrontabSchedule").objects.create(day_of_month="1", day_of_week="1")}, "both"),
        (
            lambda: {"interval": model("IntervalSchedule").objects.create(every=5, period="microseconds")},
            "a second or more",
        ),
    ],
    ids=["solar", "clocked", "both days", "microseconds"],
)
def test_what_has_no_equal_is_refused_with_the_reason(made_of, why):
    model("PeriodicTask").objects.create(name="odd", task="shop.report", **made_of())
    assert why in told("--only", "odd")["odd"]["refused"]
    with pytest.raises(CommandError, match="odd"):
        told("--map", "shop.report=reports.daily", "--only", "odd")
    assert not Schedule.objects.exists()


def test_arguments_that_do_not_fit_are_refused(nightly):
    model("PeriodicTask").objects.filter(pk=nightly.pk).update(args="[]", kwargs="{}")
    with pytest.raises(CommandError, match="Nightly report"):
        told("--map", "shop.report=reports.daily")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "x"], "TASK=WORKFLOW"),
        (["--disable"], "goes with --map"),
        (["--only", "nobody"], "is called 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_said(arguments, message):
    with pytest.raises(CommandError, match=message):
        told(*arguments)


def test_without_django_celery_beat_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    with pytest.raises(CommandError, match=r"\[beat\]"):
        told()


def test_people_can_read_it_too(nightly):
    out = StringIO()
    call_command("durable_import_periodic_tasks", stdout=out)
    assert "Nightly report! (shop.report, enabled): schedule 'Nightly-report'" in out.getvalue()
