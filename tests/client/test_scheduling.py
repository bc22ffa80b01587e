"""The verbs of schedules: what each does to the row, its ticks and the audit trail, and what it refuses."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from django_durable import (
    CodecError,
    Cron,
    Excluded,
    Interval,
    InvalidOptionError,
    ScheduleConflict,
    ScheduleNotFoundError,
    ScheduleSpec,
    UnknownWorkflowError,
    client,
    workflow,
)
from django_durable.engine.schedules.firing import fire_due
from django_durable.models import AuditEntry, Execution, Schedule, ScheduleTick

NOON = datetime(2030, 3, 2, 12, 0, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def noon(durable):
    durable.clock.move_to(NOON)


@pytest.fixture(autouse=True)
def report():
    @workflow("client.report")
    def report(ctx, day: str = "today") -> str:
        if day == "waits":
            ctx.wait_for_signal("go")
        return day

    return report


def hourly(**options):
    return client.ensure_schedule("client.report", id="hourly", interval=HOUR, **options)


def fire(durable, by=timedelta(0)):
    durable.clock.advance(by)
    return fire_due(using="default")


def row():
    return Schedule.objects.get()


def at(hour, minute=0, day=2):
    return datetime(2030, 3, day, hour, minute, tzinfo=UTC)


def ticks():
    return [
        (tick.nominal_at, tick.kind, tick.outcome, tick.count) for tick in ScheduleTick.objects.order_by("nominal_at")
    ]


def told(kind):
    return AuditEntry.objects.filter(kind=kind).order_by("created_at", "id").last()


# -- ensure --------------------------------------------------------------------------------------------


def test_it_is_made_with_its_next_time_and_an_entry(report):
    made = client.ensure_schedule(
        report, id="nightly", cron="0 3 * * *", timezone="Europe/Berlin", args=("monday",), actor="ops", reason="asked"
    )
    assert (made.outcome, made.changed, made.schedule.next_at) == ("created", (), at(2, day=3))
    entry = told("schedule_added")
    assert (entry.actor, entry.reason, entry.before) == ("ops", "asked", {"schedule": "nightly"})
    assert entry.after["timezone"] == "Europe/Berlin"
    assert "monday" not in json.dumps(entry.after)


def test_at_a_hundred_boots_it_still_fires_hourly(durable):
    hourly()
    for _ in range(100):
        durable.clock.advance(3 * MINUTE)
        assert hourly().outcome == "unchanged"
        fire_due(using="default")
    assert [nominal for nominal, *_ in ticks()] == [at(13), at(14), at(15), at(16), at(17)]
    assert AuditEntry.objects.filter(kind__startswith="schedule_").count() == 1


def test_nothing_is_written_where_nothing_differs(django_assert_num_queries):
    hourly(labels={"tenant": "acme"}, excluded=Excluded([date(2026, 12, 24)]), starts_at=NOON)
    with django_assert_num_queries(1):
        assert hourly(labels={"tenant": "acme"}, excluded=Excluded([date(2026, 12, 24)]), starts_at=NOON).outcome == (
            "unchanged"
        )


def test_a_pause_stays_whatever_code_says(durable):
    hourly()
    client.pause_schedule("hourly", reason="month end")
    assert hourly().outcome == "unchanged"
    assert hourly(overlap="allow").changed == ("overlap",)
    assert client.ensure_schedule("client.report", id="hourly", interval=2 * HOUR).changed == ("cadence", "overlap")
    assert (row().status, row().paused_reason, row().due_at) == ("paused", "month end", None)
    assert fire(durable, DAY) == 0


def test_another_option_leaves_the_next_time_another_cadence_moves_it(durable):
    hourly()
    durable.clock.advance(20 * MINUTE)
    assert hourly(overlap="allow", args=("monday",), jitter=60).changed == ("args", "jitter", "overlap")
    assert row().next_at == at(13)
    moved = client.ensure_schedule("client.report", id="hourly", interval=15 * MINUTE)
    assert moved.changed == ("args", "cadence", "jitter", "overlap")
    assert row().next_at == row().due_at == at(12, 30)
    entry = told("schedule_updated")
    assert (entry.before["next_at"], entry.after["next_at"]) == (at(13).isoformat(), at(12, 30).isoformat())


def test_another_way_to_write_the_cadence_is_no_change():
    client.ensure_schedule("client.report", id="hourly", cron="@hourly")
    assert client.ensure_schedule("client.report", id="hourly", cron="0 * * * *").outcome == "unchanged"


def test_a_tick_that_is_due_is_fired_before_another_cadence_takes_over(durable):
    hourly()
    durable.clock.advance(HOUR)
    client.update_schedule("hourly", cron="30 * * * *")
    assert [(nominal, outcome) for nominal, _, outcome, _ in ticks()] == [(at(13), "started")]
    assert row().next_at == at(13, 30)


def test_what_was_far_too_late_is_missed_when_another_cadence_takes_over(durable):
    client.ensure_schedule("client.report", id="hourly", interval=MINUTE, catch_up="all", overlap="allow")
    durable.clock.advance(HOUR)
    client.update_schedule("hourly", interval=HOUR)
    outcomes = [(outcome, count) for _, _, outcome, count in ticks()]
    assert sum(count for _, count in outcomes) == 60
    assert outcomes[-1][0] == "missed"
    assert row().next_at == at(14)


def test_one_that_has_ended_goes_on_if_it_gets_more_time(durable):
    hourly(max_runs=1)
    fire(durable, HOUR)
    assert (row().status, row().next_at) == ("ended", None)
    assert hourly(max_runs=1).outcome == "unchanged"
    hourly(max_runs=2)
    assert (row().status, row().next_at) == ("active", at(14))


def test_what_is_left_out_has_its_default_again():
    hourly(overlap="allow", max_runs=3)
    assert hourly().changed == ("max_runs", "overlap")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InvalidOptionError, "give cron= or interval="),
        ({"cron": "0 * * * *", "interval": 60}, InvalidOptionError, "not both"),
        ({"cron": "61 * * * *"}, InvalidOptionError, "minute"),
        ({"cron": "0 * * * *", "timezone": "Mars/Base"}, InvalidOptionError, "Mars/Base"),
        ({"interval": 60, "timezone": "Europe/Berlin"}, InvalidOptionError, "intervals run in UTC"),
        ({"interval": 0}, InvalidOptionError, "a second or more"),
        ({"interval": 60, "overlap": "maybe"}, InvalidOptionError, "buffer_one"),
        ({"interval": 60, "catch_up": "maybe"}, InvalidOptionError, "latest"),
        ({"interval": 60, "catch_up_window": -1}, InvalidOptionError, "catch_up_window"),
        ({"interval": 60, "jitter": "long"}, InvalidOptionError, "jitter"),
        ({"interval": 60, "starts_at": datetime(2026, 1, 1)}, InvalidOptionError, "no time zone"),
        ({"interval": 60, "starts_at": NOON, "ends_at": NOON}, InvalidOptionError, "after starts_at"),
        ({"interval": 60, "max_runs": 0}, InvalidOptionError, "max_runs"),
        ({"interval": 60, "pause_after_failures": True}, InvalidOptionError, "pause_after_failures"),
        ({"interval": 60, "excluded": [date(2026, 1, 1)]}, InvalidOptionError, "Excluded"),
        ({"interval": 60, "labels": {"a": 1}}, InvalidOptionError, "Label"),
        ({"interval": 60, "queue": "nowhere"}, InvalidOptionError, "not known"),
        ({"interval": 60, "priority": "urgent"}, InvalidOptionError, "priority"),
        ({"interval": 60, "key": ""}, InvalidOptionError, "key"),
        ({"interval": 60, "args": "monday"}, InvalidOptionError, "tuple"),
        ({"interval": 60, "args": (1, 2, 3)}, TypeError, "too many"),
        ({"interval": 60, "args": (object(),)}, CodecError, "input"),
        ({"interval": 60, "every": 3}, TypeError, "every"),
        ({"interval": 60, "id": "no spaces please"}, InvalidOptionError, "Schedule id"),
        ({"interval": 60, "workflow": "nobody"}, UnknownWorkflowError, "nobody"),
        ({"interval": 60, "workflow": object()}, InvalidOptionError, "give a workflow or its name"),
        ({"cron": Interval(60)}, InvalidOptionError, "five fields as text"),
        ({"interval": "*/5 * * * *"}, InvalidOptionError, "interval=.*else cron="),
        ({"interval": Cron("* * * * *")}, InvalidOptionError, "interval=.*else cron="),
        ({"cron": "0 * * * *", "timezone": ""}, InvalidOptionError, "timezone=''"),
        ({"cron": "0 * * * *", "timezone": ZoneInfo("Europe/Berlin")}, InvalidOptionError, "name of a zone as text"),
        ({"interval": 60, "key": "report:{scheduledat}"}, InvalidOptionError, "{scheduled_at} is the nominal time"),
        ({"interval": 60, "labels": {"day": "{scheduled_at}"}}, InvalidOptionError, "filled in in args="),
    ],
)
def test_bad_input_is_refused_at_the_call(options, error, message):
    given = {"workflow": "client.report", "id": "hourly", **options}
    with pytest.raises(error, match=message):
        client.ensure_schedule(**given)
    assert not Schedule.objects.exists() and not AuditEntry.objects.exists()


# -- update and remove ---------------------------------------------------------------------------------


def test_what_is_given_changes_and_the_rest_stays():
    made = client.ensure_schedule(
        "client.report", id="daily", cron="0 3 * * *", timezone="Europe/Berlin", overlap="allow", args=("monday",)
    ).schedule
    assert client.update_schedule(made, timezone="Asia/Tokyo", actor="ada").changed == ("cadence",)
    assert client.update_schedule(made.id, labels={"tenant": "acme"}).changed == ("labels",)
    assert client.update_schedule("daily", overlap="allow").outcome == "unchanged"
    found = client.get_schedule("daily")
    assert (found.overlap, found.timezone, found.next_at) == ("allow", "Asia/Tokyo", at(18))
    assert AuditEntry.objects.filter(kind="schedule_updated").count() == 2


def test_an_update_that_makes_no_sense_changes_nothing():
    hourly()
    for options, message in (
        ({}, "what is to change"),
        ({"timezone": "Europe/Berlin"}, "intervals run in UTC"),
        ({"max_runs": 0}, "max_runs"),
        ({"id": "other"}, "the name stays"),
        ({"ends_at": NOON, "starts_at": NOON + DAY}, "after starts_at"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            client.update_schedule("hourly", **options)
    with pytest.raises(TypeError):
        client.update_schedule("hourly", args=(1, 2))
    assert not AuditEntry.objects.filter(kind="schedule_updated").exists()


def test_a_removed_one_is_gone_with_its_ticks_and_what_it_started_stays(durable):
    hourly()
    fire(durable, HOUR)
    client.remove_schedule("hourly", reason="moved away", actor="ada")
    assert (Schedule.objects.count(), ScheduleTick.objects.count(), Execution.objects.count()) == (0, 0, 1)
    assert (told("schedule_removed").before["schedule"], told("schedule_removed").reason) == ("hourly", "moved away")


@pytest.mark.parametrize(
    "verb",
    [
        client.get_schedule,
        client.pause_schedule,
        client.resume_schedule,
        client.remove_schedule,
        client.trigger_schedule,
        client.preview_schedule,
        client.schedule_ticks,
        lambda name: client.update_schedule(name, overlap="allow"),
        lambda name: client.backfill_schedule(name, NOON - DAY, NOON),
    ],
)
def test_an_unknown_name_is_said_to_be_one(verb):
    with pytest.raises(ScheduleNotFoundError, match="'nowhere'"):
        verb("nowhere")
    with pytest.raises(InvalidOptionError, match="is not a schedule"):
        verb(7)
    assert not AuditEntry.objects.exists()


# -- pause and resume ----------------------------------------------------------------------------------


def test_what_passes_during_a_pause_is_one_skipped_row(durable):
    hourly()
    client.pause_schedule("hourly", reason="month end", actor="ada")
    fire(durable, 3 * HOUR)
    resumed = client.resume_schedule("hourly", actor="ada")
    assert (resumed.status, resumed.next_at, resumed.paused_reason) == ("active", at(16), "")
    assert ticks() == [(at(13), "regular", "skipped", 3)]
    assert ScheduleTick.objects.get().until_at == at(15)
    assert told("schedule_resumed").after["skipped"] == 3
    assert fire(durable, HOUR) == 1


def test_a_short_pause_skips_nothing(durable):
    hourly()
    client.pause_schedule("hourly")
    durable.clock.advance(MINUTE)
    assert client.resume_schedule("hourly").next_at == at(13)
    assert ticks() == []


def test_by_choice_what_has_passed_is_caught_up_with(durable):
    hourly(catch_up="all", overlap="allow")
    client.pause_schedule("hourly")
    durable.clock.advance(3 * HOUR)
    client.resume_schedule("hourly", catch_up=True)
    fire(durable)
    assert [(nominal, outcome) for nominal, _, outcome, _ in ticks()] == [
        (at(13), "started"), (at(14), "started"), (at(15), "started")
    ]  # fmt: skip


def test_a_pause_beyond_the_end_ends_it(durable):
    hourly(ends_at=at(14))
    client.pause_schedule("hourly")
    durable.clock.advance(DAY)
    assert client.resume_schedule("hourly").status == "ended"
    assert ticks() == [(at(13), "regular", "skipped", 2)]


def test_only_what_is_active_is_paused_and_what_is_paused_resumed(durable):
    hourly(max_runs=1)
    with pytest.raises(ScheduleConflict, match="is active"):
        client.resume_schedule("hourly")
    client.pause_schedule("hourly")
    with pytest.raises(ScheduleConflict, match="is paused"):
        client.pause_schedule("hourly")
    client.resume_schedule("hourly")
    fire(durable, HOUR)
    with pytest.raises(ScheduleConflict, match="is ended"):
        client.pause_schedule("hourly")
    assert AuditEntry.objects.filter(kind__in=["schedule_paused", "schedule_resumed"]).count() == 2


# -- by hand -------------------------------------------------------------------------------------------


def test_a_trigger_starts_one_now_and_moves_no_regular_tick(durable):
    hourly(args=("{scheduled_at}",))
    tick = client.trigger_schedule("hourly", actor="ada", reason="a customer waits")
    durable.run_until_idle()
    assert (tick.kind, tick.outcome, tick.nominal_at) == ("triggered", "started", NOON)
    assert client.result(tick.execution_id) == NOON.isoformat()
    assert (row().next_at, row().last_at) == (at(13), None)
    assert told("schedule_triggered").after["outcome"] == "started"
    fire(durable, HOUR)
    assert [kind for _, kind, *_ in ticks()] == ["triggered", "regular"]


def test_triggers_at_the_time_of_a_regular_tick_stand_beside_it(durable):
    hourly(overlap="allow")
    durable.clock.move_to(at(13))
    first, second = client.trigger_schedule("hourly"), client.trigger_schedule("hourly")
    fire(durable)
    microsecond = timedelta(microseconds=1)
    assert [first.nominal_at, second.nominal_at] == [at(13) + microsecond, at(13) + 2 * microsecond]
    assert [(kind, outcome) for _, kind, outcome, _ in ticks()] == [
        ("regular", "started"), ("triggered", "started"), ("triggered", "started")
    ]  # fmt: skip


def test_the_overlap_policy_decides_on_a_trigger_unless_it_brings_its_own(durable):
    hourly(args=("waits",))
    assert client.trigger_schedule("hourly").outcome == "started"
    skipped = client.trigger_schedule("hourly")
    assert (skipped.outcome, skipped.execution_id) == ("skipped", None)
    assert client.trigger_schedule("hourly", overlap="allow").outcome == "started"
    assert client.trigger_schedule("hourly", overlap="buffer_one").outcome == "buffered"
    assert row().overlap == "skip"
    with pytest.raises(InvalidOptionError, match="overlap"):
        client.trigger_schedule("hourly", overlap="maybe")


def test_another_policy_sees_what_runs_beside_each_other(durable):
    hourly(args=("waits",), overlap="allow")
    assert client.trigger_schedule("hourly").outcome == "started"
    assert client.trigger_schedule("hourly", overlap="skip").outcome == "skipped"


def test_a_paused_and_an_ended_one_are_triggered_too(durable):
    hourly(max_runs=1)
    client.pause_schedule("hourly")
    assert client.trigger_schedule("hourly", overlap="allow").outcome == "started"
    assert row().due_at is None
    assert client.trigger_schedule("hourly", overlap="allow").outcome == "started"


def test_a_start_that_fails_is_a_failed_tick(durable):
    hourly(key="only one")
    assert client.trigger_schedule("hourly").outcome == "started"
    durable.run_until_idle()
    failed = client.trigger_schedule("hourly")
    assert (failed.outcome, "key is taken" in failed.reason) == ("failed", True)


def test_a_backfill_starts_what_is_not_there(durable):
    hourly(overlap="allow")
    client.trigger_schedule("hourly")
    fire(durable, 2 * HOUR)
    done = client.backfill_schedule("hourly", at(10), at(14), actor="ada")
    assert [(tick.nominal_at, tick.outcome) for tick in done.ticks] == [
        (at(10), "started"), (at(11), "started"), (at(12), "started"), (at(13), "started")
    ]  # fmt: skip
    assert done.refused == {at(14): "it is started already"}
    assert (row().next_at, done.count("started")) == (at(15), 4)
    again = client.backfill_schedule("hourly", at(10), at(14))
    assert (again.ticks, len(again.refused)) == ((), 5)
    assert told("schedule_backfilled").after["refused"] == 5


def test_a_backfill_takes_from_a_row_for_many(durable):
    hourly()
    client.pause_schedule("hourly")
    durable.clock.advance(5 * HOUR)
    client.resume_schedule("hourly")
    assert ticks() == [(at(13), "regular", "skipped", 5)]
    client.backfill_schedule("hourly", at(15), at(15))
    client.backfill_schedule("hourly", at(13), at(14))
    assert [(nominal, outcome, count) for nominal, _, outcome, count in ticks()] == [
        (at(13), "started", 1), (at(14), "started", 1), (at(15), "started", 1), (at(16), "skipped", 2)
    ]  # fmt: skip
    client.backfill_schedule("hourly", at(16), at(17))
    assert {outcome for _, _, outcome, _ in ticks()} == {"started"}


def test_a_backfill_leaves_to_the_schedule_what_is_its_own(durable):
    hourly(excluded=Excluded([date(2030, 3, 1)]))
    durable.clock.advance(HOUR)
    done = client.backfill_schedule("hourly", at(23, day=1), at(13))
    assert set(done.refused.values()) == {"excluded date 2030-03-01", "its own turn is still to come"}
    fire(durable)
    assert (at(13), "regular", "skipped", 1) in ticks()


def test_backfilled_ticks_go_through_the_policy_that_is_given(durable):
    hourly(args=("waits",))
    done = client.backfill_schedule("hourly", at(9), at(12), overlap="buffer_all")
    assert [tick.outcome for tick in done.ticks] == ["started", "buffered", "buffered", "buffered"]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (NOON, NOON - DAY, "its start first"),
        (NOON, NOON + DAY, "has passed"),
        (datetime(2026, 1, 1), NOON, "no time zone"),
        (NOON - 100 * DAY, NOON, "more than 1000 ticks"),
    ],
)
def test_a_backfill_without_bounds_is_refused(start, end, message):
    hourly()
    with pytest.raises(InvalidOptionError, match=message):
        client.backfill_schedule("hourly", start, end)
    assert not ScheduleTick.objects.exists() and told("schedule_backfilled") is None


# -- looking -------------------------------------------------------------------------------------------


def test_the_next_times_are_those_at_which_something_starts():
    daily = client.ensure_schedule(
        "client.report", id="daily", cron="0 3 * * *", excluded=Excluded([date(2030, 3, 4)]), max_runs=3
    ).schedule
    expected = [at(3, day=3), at(3, day=5), at(3, day=6)]
    assert client.preview_schedule(daily, 5) == expected
    client.pause_schedule(daily)
    assert client.preview_schedule("daily", 2) == expected[:2]


def test_what_is_stored_nowhere_can_be_previewed():
    assert client.preview_schedule(Cron("30 * * * *"), 2) == [at(12, 30), at(13, 30)]
    assert client.preview_schedule(Interval(DAY), 1) == [at(0, day=3)]
    assert client.preview_schedule(ScheduleSpec(Interval(HOUR), ends_at=at(13))) == [at(13)]
    with pytest.raises(InvalidOptionError, match="1 to 1000"):
        client.preview_schedule(Interval(DAY), 0)


def test_a_workflow_in_place_of_its_schedule_is_refused_by_name(report):
    with pytest.raises(InvalidOptionError, match=r"^workflow 'client\.report' is not a schedule"):
        client.preview_schedule(report)


def test_pages_go_by_name():
    for name in ("c", "a", "b"):
        client.ensure_schedule("client.report", id=name, interval=HOUR)
    client.pause_schedule("b")
    first = client.schedules(size=2)
    assert ([found.name for found in first.rows], first.next) == (["a", "b"], "b")
    assert [found.name for found in client.schedules(size=2, after=first.next).rows] == ["c"]
    assert [found.name for found in client.schedules(status="paused").rows] == ["b"]
    assert client.schedules(workflow="nobody").rows == client.schedules(declared=True).rows == []
    assert [found.name for found in client.schedules(name_prefix="c").rows] == ["c"]
    for bad in ({"status": "asleep"}, {"size": 0}, {"size": 501}, {"declared": "yes"}):
        with pytest.raises(InvalidOptionError):
            client.schedules(**bad)


def test_pages_of_ticks_begin_with_the_latest(durable):
    hourly(overlap="allow")
    for _ in range(3):
        fire(durable, HOUR)
    first = client.schedule_ticks("hourly", size=2)
    assert [tick.nominal_at for tick in first.rows] == [at(15), at(14)]
    last = client.schedule_ticks("hourly", size=2, after=first.next)
    assert ([tick.nominal_at for tick in last.rows], last.next) == ([at(13)], None)
    assert client.schedule_ticks("hourly", outcome="missed").rows == []
    with pytest.raises(InvalidOptionError, match="no cursor"):
        client.schedule_ticks("hourly", after="x")
