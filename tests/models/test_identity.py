"""Primary keys: UUIDv7, in the order in which they were made."""

import time
import uuid
from datetime import UTC, datetime

import pytest

from django_durable.models import AuditEntry, Execution, Schedule, ScheduleTick, Signal, Step
from django_durable.models.identity import new_id
from tests.models import rows


def test_an_id_is_a_uuid_of_version_7():
    made = new_id()
    assert isinstance(made, uuid.UUID)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_an_id_begins_with_the_milliseconds_of_its_making():
    before = time.time_ns() // 1_000_000
    made = new_id().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_of_one_time_are_told_apart_by_chance(monkeypatch):
    monkeypatch.setattr("django_durable.models.identity.time.time_ns", lambda: 1_772_366_400_123_456_789)
    made = {new_id() for _ in range(2_000)}
    assert len(made) == 2_000
    assert len({one.int >> 64 for one in made}) == 1  # the time part; the rest is random


def test_an_id_sorts_by_fractions_of_a_millisecond_too(monkeypatch):
    # 244 ns is the finest step that 12 bits of a millisecond can hold.
    times = [1_772_366_400_123_000_000 + step * 250 for step in range(3_000)]
    moments = iter(times)
    monkeypatch.setattr("django_durable.models.identity.time.time_ns", lambda: next(moments))
    made = [new_id() for _ in times]
    assert made == sorted(made)


@pytest.mark.parametrize("model", [AuditEntry, Execution, Schedule, ScheduleTick, Signal, Step])
def test_every_table_with_an_id_of_its_own_uses_it(model):
    assert model._meta.pk.default is new_id


@pytest.mark.django_db
def test_the_database_orders_ids_as_they_were_made(monkeypatch):
    start = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**9
    moments = iter(range(start, start + 20 * 10**6, 10**6))
    monkeypatch.setattr("django_durable.models.identity.time.time_ns", lambda: next(moments))
    made = [rows.execution(pk=new_id()).pk for _ in range(10)]
    assert list(Execution.objects.order_by("pk").values_list("pk", flat=True)) == made
