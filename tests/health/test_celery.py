"""Over real Celery workers: they are noted while they live, the canary sings, and settings that hurt are told."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from django_durable import client, clock, health
from django_durable.conf import get_settings
from django_durable.health import Severity, celery_side
from django_durable.health.look import Look
from django_durable.models import Node
from testproject.celery import app
from tests.celery.conftest import fleet, queue, trace, use_broker

__all__ = ["fleet", "queue", "trace", "use_broker"]

over_a_broker = [pytest.mark.celery, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LEGS = ["start", "step", "atomic step", "child", "signal", "timer"]


class TestRealWorkers:
    pytestmark = over_a_broker

    def test_the_canary_sings_and_everybody_is_noted(self, fleet):
        fleet.plain_beat()
        prefork, threads = fleet.worker(), fleet.worker("threads")
        report = client.canary(timeout=120)
        assert (report.is_ok, [leg.name for leg in report.legs]) == (True, LEGS), fleet.logs()
        print({leg.name: leg.seconds for leg in report.legs})

        def workers():
            return list(Node.objects.filter(kind="worker"))

        fleet.eventually(lambda: len(workers()) == 2, "both workers are noted")
        fleet.eventually(lambda: Node.objects.filter(kind="tick").exists(), "the tick is noted")
        assert {(node.pid, node.source) for node in workers()} == {
            (prefork.pid, "celery prefork"),
            (threads.pid, "celery thread"),
        }
        assert all(node.queues == ["default"] and node.knows("durable.canary", 1) for node in workers())
        assert health.summary()["status"] == "ok"

        threads.terminate()
        fleet.eventually(lambda: len(workers()) == 1, "the one that stopped is gone at once")
        prefork.kill_all()
        assert health.summary()["workers"] == 1  # for another minute

    @pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
    def test_without_beat_the_timer_is_what_the_canary_misses(self, fleet):
        fleet.worker("threads")
        report = client.canary(timeout=8)
        assert report.failed == "timer"
        assert "durable_tick" in report.fix

    def test_a_broker_that_is_away_is_told(self, fleet, monkeypatch):
        answers = health.report(asks_broker=True).of("broker")
        assert [finding.severity for finding in answers] == [Severity.OK]
        with monkeypatch.context() as away:
            away.setitem(app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
            (finding,) = health.report(asks_broker=True).of("broker")
        assert finding.severity == Severity.CRITICAL
        assert health.report().of("broker") == []


@pytest.fixture
def server(monkeypatch):
    """As with a database server, whatever this test runs on."""
    monkeypatch.setattr(celery_side, "is_served", lambda look: True)


@pytest.mark.django_db
@pytest.mark.usefixtures("server")
class TestSettings:
    def only(self, code):
        (finding,) = health.report().of(code)
        return finding

    def test_connections_that_are_not_reused_under_prefork_are_told(self, monkeypatch):
        assert self.only("connection_reuse").severity == Severity.WARNING
        monkeypatch.setitem(app.conf, "CELERY_DB_REUSE_MAX", 100)
        assert self.only("connection_reuse").severity == Severity.OK

    def test_threads_need_no_reuse(self, monkeypatch):
        monkeypatch.setitem(app.conf, "worker_pool", "threads")
        assert self.only("connection_reuse").severity == Severity.OK

    def test_a_pool_under_prefork_is_told(self, monkeypatch):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**connection.settings_dict["OPTIONS"], "pool": True})
        look = Look(using="default", settings=get_settings(), now=clock.now())
        assert [found.severity for found in celery_side.find_connections(look)][1] == Severity.WARNING
        monkeypatch.setitem(app.conf, "worker_pool", "threads")
        assert [found.severity for found in celery_side.find_connections(look)][1] == Severity.OK

    def test_late_acknowledgement_of_our_tasks_is_told(self, monkeypatch):
        assert self.only("task_options").severity == Severity.OK
        monkeypatch.setattr(app.tasks["django_durable.drain"], "acks_late", True)
        assert self.only("task_options").data["tasks"] == ["django_durable.drain"]

    def test_without_celery_nothing_of_celery_is_asked(self, polling):
        codes = {finding.code for finding in health.report(asks_broker=True).findings}
        assert codes.isdisjoint({"connection_reuse", "pool_under_prefork", "tick_entry", "task_options", "broker"})

    @pytest.mark.skipif(not apps.is_installed("django_celery_beat"), reason="django-celery-beat is not installed")
    def test_a_tick_that_was_switched_off_is_told(self):
        tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task="django_durable.tick")
        if not tasks.exists():
            call_command("migrate", verbosity=0)
        assert self.only("tick_entry").severity == Severity.OK
        tasks.update(enabled=False)
        assert self.only("tick_entry").severity == Severity.WARNING
