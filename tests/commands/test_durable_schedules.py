"""``manage.py durable_schedules`` and ``durable_sync_schedules``: what is printed, and what is done."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db.models.signals import post_migrate

from django_durable import Cron, Excluded, Interval, ScheduleSpec, client, workflow
from django_durable.models import AuditEntry, Execution, Schedule

HOUR = timedelta(hours=1)


@pytest.fixture
def hourly(durable):
    @workflow("durable.report")
    def report(ctx):
        return None

    return client.ensure_schedule(report, id="hourly", interval=HOUR).schedule


def printed(command, *arguments):
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


def told(*arguments):
    return json.loads(printed("durable_schedules", *arguments, "--json"))


def test_schedules_are_listed_with_their_next_time(hourly):
    assert "hourly" in printed("durable_schedules", "list") and "active" in printed("durable_schedules", "list")
    (row,) = told("list", "--status", "active")["schedules"]
    assert (row["name"], row["workflow"]) == ("hourly", "durable.report")
    assert printed("durable_schedules", "list", "--name-prefix", "daily").strip() == "none"


def test_one_is_shown_whole_and_previewed(hourly):
    client.update_schedule("hourly", excluded=Excluded(weekdays=["SUN"]))
    shown = told("show", "hourly")
    assert (shown["jitter_seconds"], shown["excluded"]["weekdays"]) == (0, ["Sunday"])
    assert "paused_reason" in printed("durable_schedules", "show", "hourly")
    assert len(told("preview", "hourly", "--count", "3")["times"]) == 3
    assert printed("durable_schedules", "preview", "hourly").count("\n") == 5


def test_it_is_paused_and_resumed_with_actor_and_reason(hourly):
    assert "is paused" in printed("durable_schedules", "pause", "hourly", "--reason", "month end", "--actor", "ada")
    entry = AuditEntry.objects.get(kind="schedule_paused")
    assert (entry.actor, entry.reason) == ("ada", "month end")
    assert told("resume", "hourly", "--catch-up")["status"] == "active"
    assert AuditEntry.objects.get(kind="schedule_resumed").actor.startswith("cli:")


def test_it_is_triggered_backfilled_and_removed(hourly, durable):
    assert told("trigger", "hourly", "--overlap", "allow")["outcome"] == "started"
    end = durable.clock.now().isoformat()
    start = (durable.clock.now() - 3 * HOUR).isoformat()
    assert len(told("backfill", "hourly", "--start", start, "--end", end)["ticks"]) == 3
    assert printed("durable_schedules", "backfill", "hourly", "--start", start, "--end", end).count("refused") == 3
    assert len(told("ticks", "hourly", "--outcome", "started")["ticks"]) == 4
    assert "triggered" in printed("durable_schedules", "ticks", "hourly")
    assert told("remove", "hourly") == {"removed": "hourly"}
    assert (Schedule.objects.count(), Execution.objects.count()) == (0, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nowhere"),
        ("resume", "hourly"),
        ("list", "--status", "asleep"),
        ("trigger", "hourly", "--overlap", "maybe"),
        ("backfill", "hourly", "--start", "yesterday", "--end", "2026-01-01T00:00:00Z"),
    ],
)
def test_what_is_refused_is_an_error_of_the_command(hourly, arguments):
    with pytest.raises(CommandError):
        printed("durable_schedules", *arguments)


# -- declared ones -------------------------------------------------------------------------------------


@pytest.fixture
def declared(durable):
    @workflow("durable.nightly", schedule=Cron("0 3 * * *", timezone="Europe/Berlin"))
    def nightly(ctx):
        return None

    return nightly


def sync(*arguments):
    return json.loads(printed("durable_sync_schedules", *arguments, "--json"))


def test_a_dry_run_says_it_and_writes_nothing(declared):
    assert sync("--dry-run")["created"] == ["durable.nightly"]
    assert not Schedule.objects.exists() and not AuditEntry.objects.exists()
    assert printed("durable_sync_schedules").splitlines() == ["  created durable.nightly", "0 as they were"]
    assert sync()["unchanged"] == ["durable.nightly"]


def test_migrate_brings_them_in_step_and_says_so(declared, settings):
    def migrated(**more):
        out, config = StringIO(), apps.get_app_config("django_durable")
        post_migrate.send(sender=config, app_config=config, using="default", stdout=out, verbosity=1, **more)
        return out.getvalue()

    assert "created durable.nightly" in migrated(plan=[], apps=apps)
    assert Schedule.objects.get().is_declared
    assert migrated(plan=[], apps=apps) == ""
    client.remove_schedule("durable.nightly")
    assert migrated() == "" and not Schedule.objects.exists(), "a flush is no migration"
    settings.DURABLE = {**settings.DURABLE, "SYNC_SCHEDULES": False}
    assert migrated(plan=[], apps=apps) == "" and not Schedule.objects.exists()


def test_two_of_one_name_are_refused(declared):
    @workflow("durable.other", schedule=ScheduleSpec(Interval(HOUR), id="durable.nightly"))
    def other(ctx):
        return None

    with pytest.raises(CommandError, match="another id"):
        sync()


def test_a_time_that_cannot_be_read_is_a_usage_error_without_a_traceback(hourly, capsys):
    given = ["manage.py", "durable_schedules", "backfill", "hourly", "--start", "yesterday", "--end", "now"]
    with pytest.raises(SystemExit):
        execute_from_command_line(given)
    assert "argument --start: 'yesterday': give a time with its zone" in capsys.readouterr().err
    assert not Execution.objects.exists()
