"""``manage.py durable_tick``: what it does, what it prints, what it refuses."""

import json
import os
import signal
import time
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError

from django_durable import clock
from django_durable.engine import holders, presence
from django_durable.management.commands import durable_tick
from tests.models import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("polling")]
DEAD = f"{holders.machine()}:1:0"


def printed(*arguments):
    out = StringIO()
    call_command("durable_tick", *arguments, stdout=out)
    return out.getvalue().strip()


def test_with_nothing_to_do_it_says_so():
    assert printed() == "nothing overdue"
    assert json.loads(printed("--json")) == {"overdue": []}


def test_what_is_overdue_is_named_by_queue():
    rows.timer()
    assert printed() == "hinted at: default"
    assert json.loads(printed("--json")) == {"overdue": ["default"]}


def test_the_lease_of_a_dead_worker_is_returned():
    timer = rows.timer(token=uuid4(), holder=DEAD, due_at=clock.now() + rows.HOUR)
    assert printed() == "hinted at: default"
    timer.refresh_from_db()
    assert (timer.token, timer.holder) == (None, "")


def test_the_alias_may_be_named():
    rows.timer()
    assert printed("--database", "default") == "hinted at: default"


def test_an_unknown_alias_is_refused():
    with pytest.raises(CommandError, match="--database: invalid choice: 'elsewhere'"):
        printed("--database", "elsewhere")


@pytest.mark.parametrize("pause", ["0", "-1", "nan", "inf", "often"])
def test_a_pause_of_no_use_is_refused(pause):
    with pytest.raises(CommandError, match=f"--every: '{pause}' is no positive number of seconds"):
        printed(f"--every={pause}")


@pytest.fixture
def ticks(monkeypatch):
    """Stands in for the tick: each call takes the next outcome; the signals of the process are given back."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    outcomes = []

    def tick(using):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, signal.Signals):
            os.kill(os.getpid(), outcome)
            return ["last"]
        return outcome

    monkeypatch.setattr(durable_tick, "tick", tick)
    monkeypatch.setattr(presence, "ticked", lambda source, using: None)  # these tests break their connection
    yield outcomes
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_every_repeats_until_a_signal_and_lets_that_tick_end(ticks, number):
    ticks += [[], ["mail"], number, ["never"]]
    assert printed("--every", "0.001").splitlines() == ["nothing overdue", "hinted at: mail", "hinted at: last"]
    assert ticks == [["never"]]


def test_a_signal_ends_the_pause_at_once(ticks):
    ticks += [signal.SIGTERM]
    began = time.monotonic()
    assert printed("--every", "600") == "hinted at: last"
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")], ids=lambda error: str(error))
def test_every_goes_on_when_the_database_fails_and_says_so(ticks, caplog, error):
    ticks += [error, ["mail"], signal.SIGTERM]
    assert printed("--every", "0.001").splitlines() == ["hinted at: mail", "hinted at: last"]
    assert [record.message for record in caplog.records] == ["The tick failed; trying again."]


def test_a_single_tick_fails_with_the_database(ticks):
    ticks += [OperationalError("away")]
    with pytest.raises(OperationalError):
        printed()
