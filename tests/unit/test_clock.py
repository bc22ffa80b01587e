"""The clocks: aware, frozen together, and the arguments that name times and durations."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection

from django_durable import clock
from django_durable.clock import DatabaseNow, to_instant, to_seconds
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution
from django_durable.models.identity import new_id

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def read_database_clock():
    Execution.objects.create(id=new_id(), workflow="w", input="[1,null]", input_hash="")
    return Execution.objects.annotate(read=DatabaseNow()).values_list("read", flat=True).get()


def test_now_is_aware_utc():
    assert clock.now().tzinfo is UTC


def test_a_frozen_clock_stands_still():
    with clock.frozen(NOON):
        assert clock.now() == clock.now() == NOON
        assert clock.monotonic() == clock.monotonic()


def test_advance_moves_both_clocks_of_the_process():
    with clock.frozen(NOON) as frozen:
        before = clock.monotonic()
        frozen.advance(timedelta(seconds=90))
        assert clock.now() == frozen.now() == NOON + timedelta(seconds=90)
        assert clock.monotonic() - before == 90


def test_a_frozen_clock_never_goes_back():
    with clock.frozen(NOON) as frozen:
        with pytest.raises(ValueError, match="forward"):
            frozen.advance(timedelta(seconds=-1))
        frozen.move_to(NOON - timedelta(days=1))
        assert clock.now() == NOON


def test_leaving_lets_time_run_again():
    with clock.frozen(NOON):
        assert clock.is_frozen()
    assert not clock.is_frozen()
    assert clock.now() != NOON


def test_a_frozen_block_inside_another_gives_the_outer_time_back():
    with clock.frozen(NOON):
        with clock.frozen(NOON + timedelta(days=1)):
            pass
        assert clock.now() == NOON


@pytest.mark.django_db
def test_the_database_clock_is_the_current_time_in_utc():
    assert abs(read_database_clock() - clock.now()) < timedelta(seconds=5)


@pytest.mark.django_db
def test_the_database_clock_freezes_with_the_others_to_the_microsecond():
    with clock.frozen(NOON + timedelta(microseconds=123456)):
        assert read_database_clock() == NOON + timedelta(microseconds=123456)


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others have no transaction clock to confuse it with")
def test_the_database_clock_moves_inside_a_transaction():
    first = read_database_clock()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.01)")
    assert Execution.objects.annotate(read=DatabaseNow()).values_list("read", flat=True).get() > first


@pytest.mark.parametrize(
    ("duration", "seconds"), [(0, 0.0), (2, 2.0), (1.5, 1.5), (timedelta(minutes=1), 60.0), (timedelta(0), 0.0)]
)
def test_durations_are_seconds_or_timedeltas(duration, seconds):
    assert to_seconds(duration, "sleep duration") == seconds


@pytest.mark.parametrize(
    "duration",
    [True, "5", None, -1, timedelta(seconds=-1), float("nan"), float("inf"), 1e12, timedelta.max, [1]],
    ids=repr,
)
def test_other_durations_are_refused_by_name(duration):
    with pytest.raises(InvalidOptionError, match="sleep duration="):
        to_seconds(duration, "sleep duration")


def test_instants_come_back_in_utc():
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    assert to_instant(elsewhere, "at") == NOON
    assert to_instant(elsewhere, "at").tzinfo is UTC


@pytest.mark.parametrize("at", [datetime(2030, 1, 1), NOON.date(), "2030-01-01", 5, None], ids=repr)
def test_naive_and_other_instants_are_refused_with_advice(at):
    with pytest.raises(InvalidOptionError, match=r"at=.*aware datetime"):
        to_instant(at, "at")
