"""``python -m tests.limits``: 1,000 executions, limit 5, 8 workers that are killed; a rate over a minute.

Then 500 executions with the limit on their steps, two of which are side by side.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import django

RATE_SECONDS = 60.0


def main() -> int:
    """Print what was seen; the exit status says whether all of it held."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    from django.db import connection
    from django.test import override_settings

    from django_durable.models import Execution
    from tests.limits import crew, seats

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        durable = {"DISPATCHER": "django_durable.dispatch.NullDispatcher", "MAX_CLAIMS": 1000}
        with override_settings(DURABLE=durable):
            holds = True
            runs = ((seats.seats, seats.SEATS, 1000, 200), (seats.step_seats, seats.STEP_SEATS, 500, 100))
            for of, limit, count, kills in runs:
                Execution.objects.all().delete()
                with tempfile.TemporaryDirectory() as folder:
                    seen = crew.play(Path(folder), executions=count, workers=8, kills=kills, patience=900, of=of)
                print(f"{of.name}, limit {limit}, on {connection.vendor}: {seen}", flush=True)
                holds = holds and (seen.completed, seen.overrun, seen.most) == (count, 0, limit)
            with tempfile.TemporaryDirectory() as folder:
                begun = _rate(Path(folder))
            print(f"rate 100 a minute: {begun} began in {RATE_SECONDS:.0f} s", flush=True)
    finally:
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), verbosity=0)
    return 0 if holds and abs(begun - 100) <= 5 else 1


def _rate(folder: Path) -> int:
    from tests.limits import crew, seats

    for _ in range(150):
        seats.rate.start(str(folder))
    told = folder / "told"
    with crew.crew(4):
        while not told.exists():
            time.sleep(0.05)
        time.sleep(RATE_SECONDS)
    times = [float(line.split()[1]) for line in told.read_text().splitlines()]
    return sum(at < times[0] + RATE_SECONDS for at in times)


if __name__ == "__main__":
    raise SystemExit(main())
