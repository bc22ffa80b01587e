"""The report: each kind of finding is made by the rows or settings that deserve it, and by no others."""

import json
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_durable import client, clock, health, workflow
from django_durable.engine import presence
from django_durable.health import Severity, look, tables, work
from django_durable.models import Delivery, Execution, Node, Schedule, Timer
from django_durable.models.identity import new_id
from tests.models import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("polling")]
NOT_POSTGRES = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks PostgreSQL's statistics")


@pytest.fixture(autouse=True)
def dead_rows_of_the_suite(monkeypatch):
    """This database may have seen thousands of tests, and nobody vacuums it."""
    monkeypatch.setattr(tables, "DEAD_TUPLES", 10**9)


@pytest.fixture
def at():
    """The time stands still, the database's too."""
    with clock.frozen() as frozen:
        yield frozen.now()


@pytest.fixture
def alive(at):
    """A worker and a tick that were heard a moment ago."""
    rows.node(name="w@here", queues=["default"], workflows={"flow": [1]}, seen_at=at)
    rows.node(kind="tick", name="here", seen_at=at)


def only(code):
    (finding,) = health.report().of(code)
    return finding


def ago(at, seconds):
    return at - timedelta(seconds=seconds)


def test_an_idle_site_with_a_worker_and_a_tick_is_well(alive):
    found = health.report()
    assert [finding for finding in found.findings if finding.severity] == []
    assert found.severity == Severity.OK
    assert all(not finding.fix for finding in found.findings)


def test_the_worst_comes_first_and_everything_wrong_says_what_to_do(at):
    rows.timer(rows.execution(), due_at=ago(at, 90))
    found = health.report()
    grades = [finding.severity for finding in found.findings]
    assert grades == sorted(grades, reverse=True)
    assert found.severity == Severity.CRITICAL
    assert all(finding.fix for finding in found.findings if finding.severity)


# -- ticks and workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "severity"), [(0, "ok"), (40, "ok"), (50, "warning"), (61, "critical"), (None, "critical")]
)
def test_the_age_of_the_last_tick_decides(at, age, severity):
    if age is not None:
        rows.node(kind="tick", name="here", seen_at=ago(at, age))
    finding = only("tick")
    assert (finding.severity.label, finding.data["age_seconds"]) == (severity, age)


def test_every_host_that_ticks_is_named(at):
    for name, age in (("one", 1), ("two", 5), ("gone", 600)):
        rows.node(kind="tick", name=name, seen_at=ago(at, age))
    assert only("tick").data["hosts"] == ["one", "two"]


def test_a_worker_that_was_silent_for_long_does_not_count(at):
    rows.node(name="old@here", seen_at=ago(at, presence.SILENT_SECONDS + 1))
    assert only("workers").severity == Severity.WARNING  # nothing is open
    rows.timer(due_at=None)
    assert only("workers").severity == Severity.CRITICAL
    rows.node(name="new@here", seen_at=ago(at, 1))
    assert (only("workers").severity, only("workers").data["count"]) == (Severity.OK, 1)


def test_workers_of_different_versions_are_told(alive, at):
    rows.node(version="2", seen_at=at)
    assert (only("versions").severity, only("versions").data["versions"]) == (Severity.WARNING, ["1", "2"])


# -- work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "severity"), [(5, "ok"), (61, "warning"), (601, "critical")])
@pytest.mark.parametrize(
    ("code", "status", "leased"),
    [("oldest_ready", "pending", False), ("overdue_timers", "sleeping", False), ("expired_leases", "pending", True)],
)
def test_what_is_due_is_graded_by_its_age(alive, at, code, status, leased, age, severity):
    make = rows.leased if leased else rows.timer
    timer = make(rows.execution(status=status), due_at=ago(at, age))
    make(rows.execution(status=status), due_at=ago(at, age - 1))
    finding = only(code)
    assert finding.severity.label == severity
    assert finding.data["age_seconds"] == age
    assert finding.data["examples"][0] == str(timer.execution_id)
    assert (finding.data["due_on_queue"], finding.data["readers"]) == (2, ["w@here"])
    others = {"oldest_ready", "overdue_timers", "expired_leases"} - {code}
    assert [only(other).what for other in others] == ["None."] * 2


def test_sleepers_and_living_leases_are_no_findings(alive, at):
    rows.timer(rows.execution(status="sleeping"), due_at=at + rows.HOUR)
    rows.timer(rows.execution(status="waiting"), due_at=None)
    rows.leased(due_at=at + rows.HOUR)
    assert health.report().severity == Severity.OK


def test_each_queue_has_a_finding_of_its_own(alive, at, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "mail")}
    for queue in ("default", "mail"):
        rows.timer(queue=queue, due_at=ago(at, 90))
    assert sorted(found.data["queue"] for found in health.report().of("oldest_ready")) == ["default", "mail"]


def test_the_count_of_what_is_due_is_bounded(alive, at, monkeypatch):
    monkeypatch.setattr(work, "MOST_COUNTED", 3)
    for _ in range(5):
        rows.timer(due_at=ago(at, 90))
    assert "3 or more due" in only("oldest_ready").what


def test_a_queue_that_no_worker_reads_is_critical_once_something_is_due(alive, at, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "mail")}
    timer = rows.timer(queue="mail", due_at=at + rows.HOUR)
    assert only("unread_queue").severity == Severity.WARNING
    Timer.objects.filter(pk=timer.pk).update(due_at=ago(at, 1))
    assert (only("unread_queue").severity, only("unread_queue").data["queue"]) == (Severity.CRITICAL, "mail")
    rows.node(queues=["mail"], seen_at=at)
    assert only("unread_queue").severity == Severity.OK


def test_a_queue_that_no_setting_names_is_told_though_a_worker_reads_it(alive, at):
    rows.node(queues=["old"], workflows={"flow": [1]}, seen_at=at)
    rows.timer(queue="old", due_at=at + rows.HOUR)
    assert only("unread_queue").severity == Severity.WARNING
    assert "DURABLE['QUEUES']" in only("unread_queue").what


# -- executions --------------------------------------------------------------------------------------------


def test_the_stuck_are_told_by_reason(alive):
    for reason, number in (("poison", 2), ("compensation", 1)):
        for _ in range(number):
            rows.execution(status="stuck", stuck_reason=reason)
    found = {finding.data["reason"]: finding for finding in health.report().of("stuck")}
    assert {reason: finding.data["count"] for reason, finding in found.items()} == {"poison": 2, "compensation": 1}
    assert found["poison"].severity == Severity.WARNING
    assert found["compensation"].severity == Severity.CRITICAL
    assert "retry_compensation" in found["compensation"].fix


@pytest.mark.parametrize(("version", "severity"), [(1, "ok"), (2, "critical")])
def test_open_executions_need_a_worker_that_has_their_code(alive, version, severity):
    rows.execution(version=version)
    assert only("no_worker_for").severity.label == severity


def test_without_workers_this_process_says_what_it_knows(at):
    rows.execution(workflow="gone")
    assert only("no_worker_for").severity == Severity.WARNING


def test_closed_executions_of_removed_code_are_no_finding(alive):
    rows.closed(workflow="gone")
    assert only("no_worker_for").severity == Severity.OK


@pytest.mark.parametrize(("hours", "severity"), [(0.5, "ok"), (2, "warning")])
def test_long_retries_are_told_with_their_step(alive, at, hours, severity):
    execution = rows.execution(status="retrying")
    rows.step(execution, status="retrying", name="charge", started_at=at - timedelta(hours=hours))
    finding = only("retrying")
    assert finding.severity.label == severity
    assert ("charge" in finding.what) == (severity == "warning")


def test_what_was_not_undone_lately_is_told(alive, at):
    rows.closed("compensation_failed", created_at=at - timedelta(days=8))
    assert only("compensation_failed").severity == Severity.OK
    rows.closed("compensation_failed", created_at=at)
    assert (only("compensation_failed").severity, only("compensation_failed").data["count"]) == (Severity.WARNING, 1)


def test_deliveries_that_failed_or_wait_are_told(alive, at):
    rows.delivery(status="failed", due_at=None)
    assert (only("failed_deliveries").severity, only("failed_deliveries").data["count"]) == (Severity.WARNING, 1)
    delivery = rows.delivery(due_at=ago(at, 30))
    assert only("delivery_backlog").severity == Severity.OK
    Delivery.objects.filter(pk=delivery.pk).update(due_at=ago(at, 700))
    assert only("delivery_backlog").severity == Severity.CRITICAL


# -- surroundings ------------------------------------------------------------------------------------------


def test_tables_are_measured(alive, monkeypatch):
    finding = only("table_size")
    assert finding.data["total_bytes"] > 0
    monkeypatch.setattr("django_durable.health.tables.LARGE_BYTES", 1)
    assert only("table_size").severity == Severity.WARNING


@NOT_POSTGRES
def test_a_transaction_that_stays_open_is_told(alive, monkeypatch):
    monkeypatch.setattr("django_durable.health.tables.LONG_TRANSACTION_SECONDS", 0)
    other = connection.copy()
    try:
        with transaction.atomic():
            other.ensure_connection()
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("SELECT 1")
            (finding,) = health.report().of("long_transactions")
    finally:
        other.close()
    assert finding.severity == Severity.WARNING


@NOT_POSTGRES
def test_dead_rows_are_counted(alive):
    assert only("dead_rows").data["dead"] >= 0


@pytest.mark.parametrize(("live", "dead", "is_bad"), [(10, 30, False), (10, 10_001, True), (10_000, 19_000, False)])
def test_many_dead_rows_are_bad_beside_few_live_ones(monkeypatch, live, dead, is_bad):
    monkeypatch.setattr(tables, "DEAD_TUPLES", 10_000)
    assert tables.is_bloated(live, dead) is is_bad


def test_a_system_check_that_fails_is_a_finding(alive, settings):
    settings.DURABLE = {**settings.DURABLE, "LEASE_SECONDS": 3, "HEARTBEAT_SECONDS": 2}
    assert (only("checks").severity, only("checks").data["id"]) == (Severity.WARNING, "durable.W003")


def test_settings_of_no_use_are_a_finding_and_no_exception(settings):
    settings.DURABLE = {"LEASE": 3}
    found = health.report()
    assert found.severity == Severity.CRITICAL
    assert [finding.data["id"] for finding in found.of("checks")] == ["durable.E001"]


def test_a_clock_that_is_wrong_is_a_finding(alive, monkeypatch):
    right = clock.now
    monkeypatch.setattr(clock, "now", lambda: right() + timedelta(minutes=5))
    finding = health.report().of("clock")[0]
    assert (finding.severity, round(finding.data["skew_seconds"])) == (Severity.WARNING, 300)


def test_debug_is_told(alive, settings):
    settings.DEBUG = True
    assert only("debug").severity == Severity.WARNING


def test_a_database_that_does_not_answer_is_the_only_finding(monkeypatch):
    def refuse(using):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(health, "database_now", refuse)
    found = health.report()
    assert [(finding.code, finding.severity) for finding in found.findings] == [("database", Severity.CRITICAL)]
    assert found.at is None
    assert health.summary()["status"] == "critical"


def test_a_question_that_fails_is_a_finding_and_the_others_are_asked(alive, monkeypatch):
    def find_fault(look):
        list(Execution.objects.extra(where=["no_such_column = 1"]))
        yield

    monkeypatch.setattr(health, "PROBES", (find_fault, *health.PROBES))
    with transaction.atomic():
        found = health.report()
        Node.objects.exists()  # the caller's transaction goes on
    (failed,) = [finding for finding in found.of("database") if finding.severity]
    assert failed.what.startswith("The question about fault failed: ")
    assert found.of("workers")


# -- cost and faces ----------------------------------------------------------------------------------------


def test_a_summary_is_a_handful_of_statements_and_writes_nothing(alive, at):
    for _ in range(20):
        rows.timer(rows.execution(), due_at=ago(at, 5))
    health.summary()
    with CaptureQueriesContext(connection) as captured:
        told = health.summary()
    asked = [query["sql"] for query in captured if query["sql"].lstrip("( ").upper().startswith("SELECT")]
    assert len(asked) <= 12
    assert not [query for query in captured if query["sql"].split()[0] in {"INSERT", "UPDATE", "DELETE"}]
    assert told == {"status": "ok", "critical": [], "warning": [], "tick_age_seconds": 0.0, "workers": 1}


def test_a_summary_names_what_is_wrong(at):
    rows.timer(due_at=ago(at, 90))
    told = health.summary()
    assert (told["status"], told["critical"], told["warning"]) == ("critical", ["tick", "workers"], ["oldest_ready"])
    json.dumps(told)


def doctor(*arguments):
    out = StringIO()
    try:
        call_command("durable_doctor", *arguments, stdout=out, no_color=True)
    except CommandError as error:
        return out.getvalue(), error.returncode
    return out.getvalue(), 0


def test_the_doctor_ends_with_0_when_all_is_well(alive):
    told, status = doctor("--fail-on", "warning")
    assert status == 0
    assert told.splitlines()[0].startswith("ok ")


def test_the_doctor_ends_with_1_from_the_severity_asked_for(alive, at):
    rows.timer(rows.execution(), due_at=ago(at, 90))
    told, status = doctor()
    assert status == 0
    assert told.splitlines()[0].startswith("warning   oldest_ready")
    assert "Add workers for this queue" in told.splitlines()[1]
    assert doctor("--fail-on", "warning")[1] == 1


def test_the_doctor_tells_programs_as_json(alive):
    told = json.loads(doctor("--json")[0])
    assert (told["status"], told["database"]) == ("ok", "default")
    assert {"code", "severity", "what", "fix", "data"} == set(told["findings"][0])


def test_every_kind_is_in_the_catalog_with_a_fix():
    assert all(kind.fix and kind.asks and (kind.warning or kind.critical) for kind in health.KINDS.values())
    assert {finding.code for finding in health.report().findings} <= set(health.KINDS)


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (300, "5 min"), (9000, "2.5 h"), (400_000, "5 days")])
def test_durations_are_for_people(seconds, text):
    assert look.duration(seconds) == text


def test_a_limit_at_which_somebody_has_waited_for_long_is_told_with_its_holders(at):
    limit = rows.limit_key(name="erp", key="a", capacity=1)
    holder = rows.execution(status="waiting")
    rows.slot(limit=limit, execution=holder)
    rows.slot(limit=limit, execution=rows.execution(), granted=False, id=_made(ago(at, 3000)))
    assert only("full_limits").severity == Severity.OK

    rows.slot(limit=limit, execution=rows.execution(), granted=False, id=_made(ago(at, 4000)))

    found = only("full_limits")
    assert (found.severity, found.data["limit"]) == (Severity.WARNING, "erp a")
    assert f"held by {holder.pk} (waiting)" in found.what


def _made(moment):
    return UUID(int=int(moment.timestamp() * 1000) << 80 | new_id().int & (1 << 80) - 1)


# -- schedules ---------------------------------------------------------------------------------------------


@pytest.fixture
def hourly(at):
    @workflow("flow")
    def flow(ctx):
        return None

    return client.ensure_schedule(flow, id="hourly", interval=timedelta(hours=1), pause_after_failures=3).schedule


@pytest.mark.parametrize(("late", "severity"), [(0, "ok"), (61, "warning"), (601, "critical")])
def test_a_schedule_that_nobody_fires_is_told_by_its_age(at, hourly, late, severity):
    if late:
        Schedule.objects.update(next_at=ago(at, late), due_at=ago(at, late))
    finding = only("late_schedules")
    assert (finding.severity.label, finding.data["age_seconds"]) == (severity, late)
    assert finding.data.get("examples", []) == (["hourly"] if late else [])


def test_a_schedule_that_failures_have_paused_is_a_warning_one_of_an_operator_is_none(at, hourly):
    client.pause_schedule("hourly", reason="month end")
    assert only("failed_schedules").severity == Severity.OK
    client.resume_schedule("hourly")
    failed = {"paused_at": at, "paused_by": "", "paused_reason": "3 executions in a row have ended without success"}
    Schedule.objects.update(status="paused", due_at=None, **failed)
    finding = only("failed_schedules")
    assert (finding.severity, finding.data["examples"]) == (Severity.WARNING, ["hourly"])
