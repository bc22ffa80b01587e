"""``manage.py durable_tick``: what it does, what it prints, what it refuses."""

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from django_durable import clock
from django_durable.engine import holders
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


def test_every_repeats_until_it_is_interrupted(monkeypatch):
    ticks = []

    def third_is_the_last(using):
        ticks.append(using)
        if len(ticks) == 3:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(durable_tick, "tick", third_is_the_last)
    with pytest.raises(KeyboardInterrupt):
        printed("--every", "0.001")
    assert ticks == ["default"] * 3
