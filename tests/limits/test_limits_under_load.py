"""The limit holds while workers are killed, by a witness outside the database."""

from pathlib import Path

import pytest

from django_durable.models import Slot
from tests.ledger_app.relaxed import commits_without_disk
from tests.limits import crew, seats

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    # The watchdog of faulthandler is a thread; it runs no Python code and holds no lock.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def test_never_more_than_the_limit_run_at_once_and_all_finish(settings, tmp_path: Path, caplog) -> None:
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher", "MAX_CLAIMS": 1000}

    with commits_without_disk(), caplog.at_level("CRITICAL", logger="django_durable"):
        seen = crew.play(tmp_path, executions=100, workers=8, kills=8, patience=900)

    assert (seen.completed, seen.overrun) == (100, 0)
    assert seen.kills > 0
    assert seen.most == seats.SEATS, "the limit was never reached, so this shows nothing"
    assert not Slot.objects.exists()
