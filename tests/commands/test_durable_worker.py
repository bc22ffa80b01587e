"""``manage.py durable_worker``: it works off what is due, in this process and as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from django_durable import client, clock, step, workflow
from django_durable.engine import claims, holders, shutdown
from django_durable.models import Execution, Schedule, ScheduleTick, Status, Step, Timer
from tests.celery.observing import Trace, finished, sessions
from tests.celery.processes import server_of_the_test
from tests.celery.workflows import two_steps

# Bounds for what hangs: how fast the machine is proves nothing.
START_SECONDS = 120.0
STOP_SECONDS = 120.0


@pytest.fixture
def restored():
    """The command takes over the signals of the process and names it; undo both."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    shutdown.forget()
    holders.join("")


def work(*arguments):
    out = StringIO()
    call_command("durable_worker", "--until-idle", *arguments, stdout=out)
    return out.getvalue().splitlines()


# -- in this process -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling", "restored")
class TestUntilIdle:
    def test_it_finishes_what_is_due_and_counts_the_passes(self):
        @workflow("flow")
        def flow(ctx, number):
            return ctx.step("double", lambda: 2 * number)

        started = [flow.start(number) for number in range(5)]
        told = work()
        assert [client.result(execution) for execution in started] == [0, 2, 4, 6, 8]
        assert told[0].startswith("durable worker on default;")
        assert told[-1] == "stopped after 5 passes"

    def test_it_leaves_what_waits(self):
        @workflow("flow")
        def flow(ctx):
            ctx.sleep(3600)

        execution = flow.start()
        assert work()[-1] == "stopped after 1 passes"
        assert client.get(execution).status == Status.SLEEPING

    def test_it_fires_the_schedules_that_are_due(self):
        @workflow("flow")
        def flow(ctx):
            return "fired"

        client.ensure_schedule(flow, id="often", interval=timedelta(minutes=1))
        just_now = clock.now() - timedelta(seconds=1)
        Schedule.objects.update(next_at=just_now, due_at=just_now)
        assert work()[-1] == "stopped after 1 passes"
        assert client.result(ScheduleTick.objects.get().execution_id) == "fired"

    def test_with_nothing_due_it_stops_at_once(self):
        assert work()[-1] == "stopped after 0 passes"

    def test_several_threads_share_the_work_and_do_each_thing_once(self):
        ran = []

        @step(name="note")
        def note(number):
            ran.append(number)

        @workflow("flow")
        def flow(ctx, number):
            ctx.step(note, number)

        for number in range(12):
            flow.start(number)
        assert work("--threads", "3")[-1] == "stopped after 12 passes"
        assert sorted(ran) == list(range(12))
        assert not Timer.objects.exists()

    def test_only_the_queues_that_are_named_are_served(self, settings):
        settings.DURABLE = {**settings.DURABLE, "QUEUES": ["default", "mail", "slow"]}

        @workflow("flow")
        def flow(ctx):
            return "done"

        served = {queue: flow.using(queue=queue).start() for queue in ("default", "mail", "slow")}
        assert work("--queue", "mail", "--queue", "slow")[0].startswith("durable worker on mail, slow;")
        found = {queue: client.get(execution).status for queue, execution in served.items()}
        assert found == {"default": Status.PENDING, "mail": Status.COMPLETED, "slow": Status.COMPLETED}

    def test_without_a_queue_all_that_are_known_are_served(self):
        @workflow("flow", queue="reports")
        def flow(ctx):
            return "done"

        execution = flow.start()
        work()
        assert client.result(execution) == "done"

    @pytest.mark.parametrize(
        ("holder", "is_returned"),
        [
            (f"elsewhere:1:1:durable_worker@{socket.gethostname()}", True),
            (f"{holders.machine()}:1:0:", True),
            ("elsewhere:1:1:durable_worker@another", False),
            (f"{holders.this_process()}durable_worker@{socket.gethostname()}", False),
        ],
        ids=["restarted container", "dead here", "another worker elsewhere", "alive here"],
    )
    def test_it_begins_with_what_its_predecessor_was_killed_over(self, holder, is_returned):
        @workflow("flow")
        def flow(ctx):
            return "done"

        execution = flow.start()
        Timer.objects.update(token=uuid4(), holder=holder, due_at=clock.now() + timedelta(hours=1))
        work()
        assert client.get(execution).is_closed is is_returned

    def test_a_name_of_its_own_has_predecessors_of_its_own(self):
        @workflow("flow")
        def flow(ctx):
            return "done"

        theirs, ours = flow.start(), flow.start()
        for run, node in ((theirs, f"durable_worker@{socket.gethostname()}"), (ours, "web-1")):
            held = {"token": uuid4(), "holder": f"elsewhere:1:1:{node}", "due_at": clock.now() + timedelta(hours=1)}
            Timer.objects.filter(pk=run.pk).update(**held)
        work("--name", "web-1")
        assert (client.get(ours).is_closed, client.get(theirs).is_closed) == (True, False)

    def test_a_database_that_is_away_at_the_start_does_not_end_it(self, monkeypatch):
        def away(**_):
            raise OperationalError("away")

        monkeypatch.setattr(claims, "release_dead", away)
        assert work()[-1] == "stopped after 0 passes"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--threads", "0"], "fewer than one thread"),
        (["--threads", "-1"], "fewer than one thread"),
        (["--threads", "many"], "invalid int value"),
        (["--queue", "nobodys"], r"Unknown queues \['nobodys'\].*Known: \['default'\]"),
        (["--database", "elsewhere"], "--database: invalid choice: 'elsewhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_of_no_use_are_refused_before_anything_starts(polling, restored, arguments, told):
    with pytest.raises(CommandError, match=told):
        work(*arguments)


# -- as a process --------------------------------------------------------------------------------------


@contextmanager
def manage(*arguments):
    """``manage.py`` in a process of its own, on the database of the test."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.celery.settings",
        "DURABLE_TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "DURABLE_TEST_APPS": "tests.celery",
        "DURABLE_TEST_DISPATCHER": "django_durable.dispatch.NullDispatcher",
        "DURABLE_TEST_QUEUE": "none",
        "CELERY_BROKER_URL": "memory://",
        "PYTHONUNBUFFERED": "1",
        **server_of_the_test(),
    }
    with subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=django_settings.BASE_DIR,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def eventually(condition, what):
    ends_at = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, f"not within {START_SECONDS} s: {what}"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling", "restored")
def test_sigterm_lets_the_running_step_end_and_hands_the_execution_back(tmp_path):
    trace = Trace(tmp_path / "trace")
    execution = two_steps.start(str(trace))
    with manage("durable_worker", "--threads", "1") as process:
        eventually(lambda: trace.of("one-began"), "the first step begins")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None  # the step still runs
        trace.open("one")
        told, _ = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, told
    assert "stopped after 1 passes" in told

    timer = Timer.objects.get(pk=execution.id)
    assert (timer.token, timer.holder, timer.claims) == (None, "", 0)
    assert Timer.objects.due().exists()
    assert [(row.name, row.status) for row in Step.objects.history(execution.id)] == [("one", "completed")]

    trace.open("two")
    work()
    assert client.result(execution) == ["one", "two"]
    assert [len(trace.of(f"{name}-began")) for name in ("one", "two")] == [1, 1]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_idle_worker_stops_at_once(number):
    assert not Execution.objects.exists()
    with manage("durable_worker") as process:
        assert process.stdout.readline().startswith("durable worker on default")
        began = time.monotonic()
        process.send_signal(number)
        told, _ = process.communicate(timeout=STOP_SECONDS)
    assert (process.returncode, told.strip()) == (0, "stopped after 0 passes")
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL: a server that the test may stop")
@pytest.mark.usefixtures("polling")
def test_it_outlives_the_database_and_keeps_one_connection_for_each_thread(cluster, tmp_path):
    traces = [Trace(tmp_path / name) for name in ("before", "after")]
    with manage("durable_worker", "--threads", "2") as process:
        for trace in traces:
            execution = two_steps.start(str(trace))
            trace.open("one")
            trace.open("two")
            eventually(lambda: finished(execution), "the execution ends")  # noqa: B023 - before the next round
            # it polls: its two threads and the ticking one keep theirs, the main thread has none
            eventually(lambda: sessions() == ["idle"] * 3, "nothing is done and no transaction is open")
            cluster.stop_immediate()
            cluster.start()
            connection.close()
        assert process.poll() is None
        assert [len(trace.of("one-began")) for trace in traces] == [1, 1]
