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


@pytest.mark.parametrize(
    ("workflow", "count", "limit"),
    [(seats.seats, 100, seats.SEATS), (seats.step_seats, 40, seats.STEP_SEATS)],
    ids=["whole", "steps"],
)
def test_never_more_than_the_limit_run_at_once_and_all_finish(
    settings, tmp_path: Path, caplog, workflow, count, limit
) -> None:
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher", "MAX_CLAIMS": 1000}

    with commits_without_disk(), caplog.at_level("CRITICAL", logger="django_durable"):
        seen = crew.play(tmp_path, executions=count, workers=8, kills=8, patience=900, of=workflow)

    assert (seen.completed, seen.overrun) == (count, 0)
    assert seen.kills > 0
    assert seen.most == limit, "the limit was never reached, so this shows nothing"
    assert not Slot.objects.exists()
