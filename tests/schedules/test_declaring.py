"""Declared schedules: the code has the last word about what it says, the operator about a pause."""

from datetime import timedelta

import pytest

from django_durable import Cron, Flow, Interval, InvalidOptionError, ScheduleConflict, ScheduleSpec, client, workflow
from django_durable.definitions import registry
from django_durable.models import AuditEntry, Schedule
from tests.authoring import isolated_registry

__all__ = ["isolated_registry"]
HOUR = timedelta(hours=1)


def declare(*, schedule=None, name="nightly", version=1):
    @workflow(name, schedule=schedule, version=version)
    def run(ctx, day="today"):
        return day

    return run


def deploy(**options):
    """The code of a new release, and its ``migrate``."""
    registry._versions = {}
    declare(**options)
    return client.sync_schedules()


def names():
    return sorted(Schedule.objects.values_list("name", flat=True))


def test_what_is_declared_is_made_changed_and_removed(durable):
    assert deploy(schedule=Interval(HOUR)).created == ["nightly"]
    assert deploy(schedule=Interval(HOUR)).unchanged == ["nightly"]
    changed = deploy(schedule=ScheduleSpec(Interval(2 * HOUR), args=("monday",), overlap="allow"))
    assert changed.updated == {"nightly": ("args", "cadence", "overlap")}
    assert deploy().removed == ["nightly"]
    assert names() == []
    kinds = AuditEntry.objects.filter(actor="code").order_by("created_at", "id").values_list("kind", flat=True)
    assert list(kinds) == ["schedule_added", "schedule_updated", "schedule_removed"]


def test_a_workflow_may_have_several(durable):
    deploy(schedule=[Cron("0 3 * * *"), ScheduleSpec(Interval(HOUR), id="nightly.hourly", args=("now",))])
    assert names() == ["nightly", "nightly.hourly"]
    assert deploy(schedule=Cron("0 3 * * *")).removed == ["nightly.hourly"]


def test_only_the_newest_version_declares(durable):
    declare(schedule=Interval(HOUR))
    declare(schedule=Cron("0 3 * * *"), version=2)
    assert client.sync_schedules().created == ["nightly"]
    assert client.get_schedule("nightly").timezone == "UTC"
    assert '"cron"' in client.get_schedule("nightly").cadence


def test_a_pause_stays_and_an_edit_is_brought_back(durable):
    deploy(schedule=Interval(HOUR))
    client.pause_schedule("nightly", reason="month end")
    client.update_schedule("nightly", overlap="allow")
    assert deploy(schedule=Interval(HOUR)).updated == {"nightly": ("overlap",)}
    assert client.get_schedule("nightly").status == "paused"


def test_those_of_workflows_that_are_not_here_are_left_unless_asked(durable):
    deploy(schedule=Interval(HOUR))
    registry._versions = {}
    assert client.sync_schedules().unknown == ["nightly"]
    assert names() == ["nightly"]
    assert client.sync_schedules(remove_unknown=True).removed == ["nightly"]


def test_what_was_only_ensured_is_left_alone_and_may_become_declared(durable):
    flow = declare()
    client.ensure_schedule(flow, id="nightly", interval=HOUR)
    assert deploy().removed == []
    assert deploy(schedule=Interval(HOUR)).updated == {"nightly": ("is_declared",)}
    with pytest.raises(ScheduleConflict, match="declared by workflow 'nightly'"):
        client.ensure_schedule("nightly", id="nightly", interval=HOUR)


def test_a_flow_declares_too(durable):
    registry._versions = {}
    Flow("flowing", schedule=Interval(HOUR)).step("one", lambda data: 1).register()
    assert client.sync_schedules().created == ["flowing"]


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("0 3 * * *", InvalidOptionError, "'0 3 .*give a Cron"),
        ([Interval(HOUR), Cron("0 3 * * *")], InvalidOptionError, "two schedules of one id"),
        (ScheduleSpec(Interval(HOUR), args=(1, 2)), TypeError, "workflow 'nightly': too many"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_at_import(schedule, error, message):
    with pytest.raises(error, match=message):
        declare(schedule=schedule)
    with pytest.raises(InvalidOptionError, match="as cadence"):
        ScheduleSpec("0 3 * * *")
