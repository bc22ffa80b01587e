"""What holds for any cadence, zone and moment."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from django_durable import Cron, Interval, InvalidOptionError
from django_durable.cadence import load
from tests.cadence.cases import EXPRESSIONS, ZONES

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
CRONS = st.builds(Cron, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES))
INTERVALS = st.builds(Interval, st.floats(1, 1e7), MOMENTS)
CADENCES = CRONS | INTERVALS


@settings(max_examples=150, deadline=None)
@given(CADENCES, MOMENTS)
def test_ticks_grow_strictly_and_are_those_of_between(cadence, moment):
    ticks = cadence.upcoming(moment, 4)

    assert all(early < late for early, late in pairwise([moment, *ticks]))
    assert list(cadence.between(moment, ticks[-1])) == ticks
    assert list(cadence.between(moment, ticks[-1] - timedelta(microseconds=1))) == ticks[:-1]


@settings(max_examples=150, deadline=None)
@given(CADENCES, MOMENTS, st.floats(0, 1, exclude_max=True))
def test_from_anywhere_before_a_tick_that_tick_is_next(cadence, moment, share):
    first, second = islice(cadence.between(moment, datetime.max.replace(tzinfo=UTC)), 2)

    assert cadence.after(first + (second - first) * share) in {second, cadence.after(second)}
    assert cadence.after(second - timedelta(microseconds=1)) == second


@settings(max_examples=100, deadline=None)
@given(CADENCES)
def test_what_is_stored_is_read_again(cadence):
    assert load(cadence.dump()) == cadence


ANY_TEXT = st.text("0123456789*/-,#LWHR?@ MONsun", max_size=40)
FIELD = st.lists(
    st.sampled_from(["*", "*/2", "0", "1", "5", "1-5", "1-5/2", "2/3", "59", "L", "MON", "MON#5", "5L"]),
    min_size=1,
    max_size=2,
).map(",".join)
FIVE_FIELDS = st.lists(FIELD, min_size=5, max_size=5).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT | FIVE_FIELDS, MOMENTS)
def test_any_text_is_refused_or_ticks(text, moment):
    try:
        cron = Cron(text)
    except InvalidOptionError:
        return
    assert cron.after(moment) > moment
    assert cron.describe()
