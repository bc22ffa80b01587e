"""The programs that CI runs; DURABLE_TEST_PROGRAMS says how many, DURABLE_TEST_PROGRAMS_SEED where to begin.

SQLite plays most of them: the logic is the same everywhere, and there each costs a fraction. The gate plays the same
ones each time, so that a change is judged by itself; ``python -m tests.generated`` looks for new ones.
"""

import logging
import os

import pytest
from django.db import connection

from tests.generated import driver
from tests.ledger_app.relaxed import commits_without_disk


@pytest.mark.slow
def test_every_program_does_what_the_model_says(settings, transactional_db, caplog):
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    count = int(os.environ.get("DURABLE_TEST_PROGRAMS", "2000" if connection.vendor == "sqlite" else "200"))
    first = int(os.environ.get("DURABLE_TEST_PROGRAMS_SEED", "2026"))
    with commits_without_disk(), caplog.at_level(logging.CRITICAL, logger="django_durable"):
        findings = [found for seeds in driver.batches(range(first, first + count)) for found in driver.play(seeds)]
        told = [str(driver.shrunk(finding)) for finding in findings[:3]]
    assert not told, "\n".join(told)
