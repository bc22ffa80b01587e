"""Each system check: what makes it speak, what it advises, and that it is silent when all is well."""

import json
from typing import Any

import pytest
from celery import current_app
from django.apps import apps
from django.core import checks

from django_durable import Cron, ScheduleSpec, beat, client, workflow
from django_durable.models import Schedule, Status
from testproject.settings import database
from tests.authoring import NO_BROKER
from tests.checks.aliases import alias
from tests.models import rows

pytestmark = pytest.mark.django_db
GOOD_SQLITE = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}


def messages():
    """What the checks of this package say, as ``manage.py check --database default`` runs them."""
    return checks.run_checks(tags=["durable"], databases=["default"])


def only():
    """The one message there is."""
    found = messages()
    assert len(found) == 1, found
    return found[0]


@pytest.fixture
def without_beat_app(monkeypatch):
    real = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django_celery_beat" and real(name))


# -- all is well ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, NO_BROKER, {"LEASE_SECONDS": 5}], ids=["default", "polling", "short lease"])
def test_a_sound_project_is_told_nothing(settings, given):
    settings.DURABLE = given
    assert messages() == []


def test_the_project_of_the_tests_passes_every_check_of_django_too():
    assert checks.run_checks(databases=["default"]) == []


# -- settings ------------------------------------------------------------------------------------------


def test_an_unknown_setting_is_named_with_its_neighbour(settings):
    settings.DURABLE = {"LEASE_SECOND": 3}
    assert (only().id, only().hint) == ("durable.E001", "Did you mean 'LEASE_SECONDS'?")


def test_every_unknown_setting_is_named(settings):
    settings.DURABLE = {"LEASE_SECOND": 3, "XYZ": 1}
    assert [(found.id, found.msg.split("'")[1]) for found in messages()] == [
        ("durable.E001", "LEASE_SECOND"),
        ("durable.E001", "XYZ"),
    ]


def test_a_setting_like_no_other_gets_the_reference_for_a_hint(settings):
    settings.DURABLE = {"XYZ": 1}
    assert "settings reference" in only().hint


@pytest.mark.parametrize("seconds", [0, -1, "ten"])
def test_a_lease_of_no_use_is_an_error(settings, seconds):
    settings.DURABLE = {"LEASE_SECONDS": seconds}
    assert only().id == "durable.E002"
    assert only().hint


def test_a_lease_shorter_than_three_heartbeats_is_a_warning(settings):
    settings.DURABLE = {"LEASE_SECONDS": 10, "HEARTBEAT_SECONDS": 4}
    assert only().id == "durable.W003"
    assert "LEASE_SECONDS" in only().hint
    settings.DURABLE = {"LEASE_SECONDS": 12, "HEARTBEAT_SECONDS": 4}
    assert messages() == []


def test_local_time_is_an_error(settings):
    settings.USE_TZ = False
    assert (only().id, only().hint) == ("durable.E004", "Set USE_TZ = True.")


# -- where the tables are ------------------------------------------------------------------------------


def test_an_alias_that_does_not_exist_is_an_error(settings):
    settings.DURABLE = {"DATABASE": "elsewhere"}
    assert only().id == "durable.E005"
    assert "default" in only().hint


class Router:
    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return self.allowed or app_label != "django_durable"


def test_a_router_that_keeps_the_tables_away_is_an_error(settings):
    settings.DATABASE_ROUTERS = [Router(allowed=False)]
    assert only().id == "durable.E005"
    assert "allow_migrate()" in only().hint
    settings.DATABASE_ROUTERS = [Router(allowed=True)]
    assert messages() == []


# -- SQLite --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "check_id"),
    [
        ("transaction_mode", None, "durable.W007"),
        ("transaction_mode", "DEFERRED", "durable.W007"),
        ("init_command", None, "durable.W008"),
        ("init_command", "PRAGMA journal_mode=DELETE", "durable.W008"),
    ],
)
def test_sqlite_is_told_what_makes_writers_wait(settings, option, value, check_id):
    settings.DURABLE = {**NO_BROKER, "DATABASE": "small"}
    with alias("small", database("sqlite"), **{**GOOD_SQLITE, option: value}):
        found = only()
    assert found.id == check_id
    assert option in found.hint


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE", "immediate"])
def test_sqlite_is_left_alone_when_writers_queue(settings, mode):
    settings.DURABLE = {**NO_BROKER, "DATABASE": "small"}
    with alias("small", database("sqlite"), **{**GOOD_SQLITE, "transaction_mode": mode}):
        assert messages() == []


# -- Celery --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pickle", "application/x-python-serialize"])
def test_pickle_is_a_warning(monkeypatch, kind):
    monkeypatch.setitem(current_app.conf, "accept_content", ["json", kind])
    assert only().id == "durable.W009"
    assert 'accept_content = ["json"]' in only().hint


def test_no_tick_is_a_warning(monkeypatch, without_beat_app):
    monkeypatch.setitem(current_app.conf, "beat_schedule", {"other": {"task": "other"}})
    assert only().id == "durable.W010"
    assert "beat_schedule()" in only().hint
    assert "durable_tick" in only().hint


def test_a_tick_in_the_beat_schedule_is_enough(monkeypatch, without_beat_app):
    monkeypatch.setitem(current_app.conf, "beat_schedule", beat.beat_schedule())
    assert messages() == []


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "celery.concurrency.gevent:TaskPool"])
def test_a_pool_of_greenlets_is_an_error(monkeypatch, pool):
    monkeypatch.setitem(current_app.conf, "worker_pool", pool)
    assert only().id == "durable.E013"
    assert "use prefork, threads or solo" in only().msg


def test_spawned_children_are_an_error(monkeypatch):
    monkeypatch.setitem(current_app.conf, "worker_pool_start_method", "spawn")
    assert only().id == "durable.E013"
    assert "use fork" in only().msg


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_pools_that_workflows_run_on_are_no_matter(monkeypatch, pool):
    monkeypatch.setitem(current_app.conf, "worker_pool", pool)
    assert messages() == []


def test_without_celery_nobody_asks_about_it(monkeypatch, settings, without_beat_app):
    settings.DURABLE = NO_BROKER
    monkeypatch.setitem(current_app.conf, "accept_content", ["pickle"])
    monkeypatch.setitem(current_app.conf, "beat_schedule", {})
    monkeypatch.setitem(current_app.conf, "worker_pool", "gevent")
    assert messages() == []


# -- live executions -----------------------------------------------------------------------------------


def register(name, version=1):
    @workflow(name, version=version)
    def registered(ctx):
        pass


def test_a_live_execution_of_unknown_code_is_a_warning():
    rows.execution(workflow="gone", status=Status.SLEEPING)
    rows.execution(workflow="gone")
    assert only().id == "durable.W011"
    assert "'gone' version 1" in only().msg
    assert "registered" in only().hint


def test_a_live_execution_of_an_unknown_version_is_a_warning():
    register("known", version=2)
    rows.execution(workflow="known", version=1)
    rows.execution(workflow="known", version=2)
    assert "'known' version 1" in only().msg


def test_executions_that_can_go_on_or_have_ended_are_no_matter():
    register("known")
    rows.execution(workflow="known")
    rows.closed(workflow="gone")
    assert messages() == []


def test_executions_are_not_read_unless_the_database_is_checked():
    rows.execution(workflow="gone")
    assert not [message for message in checks.run_checks() if message.id.startswith("durable.")]


def test_endpoints_that_nobody_sends_to(settings):
    rows.endpoint(active=False)
    assert messages() == []
    rows.endpoint()
    assert only().id == "durable.W014"
    settings.DURABLE = {"WEBHOOK_QUEUE": "default"}
    assert messages() == []


@pytest.mark.parametrize("networks", ["10.0.0.0/8", ["10.0.0.1/8"], ["nowhere"]])
def test_networks_of_no_use(settings, networks):
    settings.DURABLE = {"WEBHOOK_NETWORKS": networks}
    assert only().id == "durable.E002"


# -- schedules -----------------------------------------------------------------------------------------


@pytest.fixture
def nightly(polling):
    @workflow("nightly")
    def nightly(ctx):
        return None

    return client.ensure_schedule(nightly, id="nightly", cron="0 3 * * *").schedule


def test_a_schedule_that_another_major_of_the_parser_has_read_is_a_warning_until_it_is_accepted(nightly):
    assert messages() == []
    stored = {**json.loads(nightly.cadence), "parser_version": "6.0.0"}
    Schedule.objects.update(cadence=json.dumps(stored))
    assert (only().id, "'nightly'" in only().msg, "preview nightly" in only().hint) == ("durable.W015", True, True)

    assert client.ensure_schedule("nightly", id="nightly", cron="0 3 * * *").outcome == "unchanged"
    assert only().id == "durable.W015"
    assert client.update_schedule("nightly", cron="0 3 * * *").changed == ("cadence",)
    assert messages() == []


def test_two_workflows_that_declare_one_schedule_are_an_error(polling):
    for name in ("one", "other"):

        @workflow(name, schedule=ScheduleSpec(Cron("0 3 * * *"), id="nightly"))
        def flow(ctx):
            return None

    assert (only().id, "another id=" in only().msg) == ("durable.E016", True)
