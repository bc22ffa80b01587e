"""The programs that CI runs; DURABLE_TEST_PROGRAMS says how many, DURABLE_TEST_PROGRAMS_SEED where to begin.

SQLite plays most of them: the logic is the same everywhere, and there each costs a fraction. Each database plays
others, and the same ones each time, so that a change is judged by itself; ``python -m tests.generated`` looks for new
ones.
"""

import logging
import os
from collections import Counter

import pytest
from django.db import connection

from django_durable.models import Kind
from tests import sampling
from tests.generated import driver
from tests.ledger_app.relaxed import commits_without_disk

PLAYED = {"sqlite": 600, "postgresql": 100, "mysql": 100}
FIRST = {"sqlite": 2_026, "postgresql": 12_026, "mysql": 22_026}  # seeds
ONE_IN = 80  # programs: each primitive leaves a checkpoint in so many, at the least
MANY = 500  # fewer say nothing about what is rare
# Coroutines have programs of their own, tests/engine/test_coroutine_order.py; going back is an order.
ELSEWHERE = {Kind.TASK, Kind.BACK}


@pytest.mark.slow
def test_every_program_does_what_the_model_says(settings, transactional_db, caplog):
    settings.DURABLE = driver.SETTINGS
    count = int(os.environ.get("DURABLE_TEST_PROGRAMS") or PLAYED[connection.vendor])
    first = int(os.environ.get("DURABLE_TEST_PROGRAMS_SEED") or FIRST[connection.vendor])
    seeds, recorded = range(first, first + count), Counter()
    sampling.SAID.append(f"generated programs: {count:,}, from seed {first}")
    with commits_without_disk(), caplog.at_level(logging.CRITICAL, logger="django_durable"):
        findings = [found for batch in driver.batches(seeds) for found in driver.play(batch, recorded)]
        told = [str(driver.shrunk(finding)) for finding in findings[:3]]
    assert not told, "\n".join(told)
    rare = {kind: recorded[kind] for kind in set(Kind) - ELSEWHERE if recorded[kind] < count / ONE_IN}
    assert count < MANY or not rare, f"hardly played, of {count} programs: {rare}"
