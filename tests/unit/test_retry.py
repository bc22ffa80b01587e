"""Retry policies: what is refused, how long the waits are, when it is given up."""

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_durable.exceptions import Cancelled, InvalidOptionError, NonRetryable, RetryAfter
from django_durable.retry import LONGEST_SECONDS, NO_RETRY, Retry


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"max_attempts": "3"},
        {"initial_seconds": -1},
        {"initial_seconds": float("nan")},
        {"initial_seconds": "1"},
        {"initial_seconds": timedelta(seconds=-1)},
        {"initial_seconds": 61},
        {"multiplier": 0.5},
        {"multiplier": float("inf")},
        {"maximum_seconds": float("inf")},
        {"maximum_seconds": 1e300},
        {"maximum_seconds": None},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": True},
        {"max_elapsed_seconds": -1},
        {"max_elapsed_seconds": float("nan")},
        {"retry_on": ("ValueError",)},
        {"retry_on": (BaseException,)},
        {"retry_on": KeyboardInterrupt},
        {"not_on": 3},
        {"not_on": (int,)},
    ],
    ids=repr,
)
def test_bad_options_are_refused_at_construction(options):
    with pytest.raises(InvalidOptionError) as caught:
        Retry(**options)
    assert next(iter(options)) in str(caught.value)


def test_durations_may_be_timedeltas():
    given_ = Retry(
        initial_seconds=timedelta(seconds=2),
        maximum_seconds=timedelta(minutes=5),
        max_elapsed_seconds=timedelta(hours=1),
    )
    assert given_ == Retry(initial_seconds=2, maximum_seconds=300, max_elapsed_seconds=3600)


def test_one_class_or_any_iterable_of_classes():
    assert Retry(retry_on=OSError, not_on=[KeyError]) == Retry(retry_on=(OSError,), not_on=(KeyError,))


def test_is_a_frozen_value():
    retry = Retry(max_attempts=5)
    with pytest.raises(FrozenInstanceError):
        retry.max_attempts = 6
    assert pickle.loads(pickle.dumps(retry)) == retry
    assert hash(retry) == hash(Retry(max_attempts=5))
    assert replace(retry, jitter=0) == Retry(max_attempts=5, jitter=0)
    with pytest.raises(InvalidOptionError):
        replace(retry, jitter=2)


@pytest.mark.parametrize(("attempt", "expected"), [(1, 1), (2, 3), (3, 9), (4, 27), (5, 50), (10_000, 50)])
def test_delays_grow_to_the_maximum(attempt, expected):
    retry = Retry(max_attempts=None, initial_seconds=1, multiplier=3, maximum_seconds=50, jitter=0)
    assert retry.delay_seconds(attempt, Random(1)) == expected


def test_no_initial_delay_stays_none():
    assert Retry(initial_seconds=0).delay_seconds(10_000, Random(1)) == 0


finite = st.floats(0, 1e6)
policies = st.builds(
    lambda initial, more, **rest: Retry(initial_seconds=initial, maximum_seconds=initial + more, **rest),
    finite,
    finite,
    multiplier=st.floats(1, 1e6),
    jitter=st.floats(0, 1),
    max_attempts=st.none() | st.integers(1, 50),
    max_elapsed_seconds=st.none() | finite,
)


@given(policies, st.integers(1, 10_000), st.integers())
def test_delay_lies_between_its_jittered_and_its_full_length(retry, attempt, seed):
    full = replace(retry, jitter=0).delay_seconds(attempt, Random(seed))
    delay = retry.delay_seconds(attempt, Random(seed))
    assert full * (1 - retry.jitter) <= delay <= full <= retry.maximum_seconds


@given(policies, st.integers(1, 100))
def test_full_delays_never_shrink(retry, attempt):
    plain = replace(retry, jitter=0)
    assert plain.delay_seconds(attempt, Random(1)) <= plain.delay_seconds(attempt + 1, Random(1))


@given(policies, st.integers(1, 100), finite, st.integers())
def test_a_retry_respects_every_limit(retry, attempt, elapsed, seed):
    delay = retry.next_delay_seconds(OSError(), attempt=attempt, elapsed_seconds=elapsed, random=Random(seed))
    if delay is not None:
        assert retry.max_attempts is None or attempt < retry.max_attempts
        assert retry.max_elapsed_seconds is None or elapsed + delay <= retry.max_elapsed_seconds


@given(policies, st.integers(1, 100), st.integers())
def test_the_same_random_numbers_give_the_same_delay(retry, attempt, seed):
    assert retry.delay_seconds(attempt, Random(seed)) == retry.delay_seconds(attempt, Random(seed))


def after(retry, error, attempt=1, elapsed=0.0):
    return retry.next_delay_seconds(error, attempt=attempt, elapsed_seconds=elapsed, random=Random(1))


@pytest.mark.parametrize(
    ("retry", "error", "retried"),
    [
        (Retry(), ValueError(), True),
        (Retry(), NonRetryable(), False),
        (Retry(retry_on=(NonRetryable,)), NonRetryable(), False),
        (Retry(), Cancelled(), False),
        (Retry(), KeyboardInterrupt(), False),
        (Retry(retry_on=(OSError,)), ConnectionError(), True),
        (Retry(retry_on=(OSError,)), ValueError(), False),
        (Retry(retry_on=(OSError,), not_on=(ConnectionError,)), ConnectionResetError(), False),
        (Retry(retry_on=(LookupError,), not_on=(LookupError,)), KeyError(), False),
        (Retry(retry_on=()), ValueError(), False),
        (Retry(retry_on=()), RetryAfter(1), True),
        (Retry(not_on=(RetryAfter,)), RetryAfter(1), False),
        (NO_RETRY, ValueError(), False),
        (NO_RETRY, RetryAfter(1), False),
    ],
)
def test_which_errors_are_retried(retry, error, retried):
    assert (after(retry, error) is not None) is retried


def test_max_attempts_counts_the_first_try():
    retry = Retry(max_attempts=3)
    assert after(retry, OSError(), attempt=2) is not None
    assert after(retry, OSError(), attempt=3) is None


def test_no_limit_of_attempts():
    assert after(Retry(max_attempts=None), OSError(), attempt=10_000) is not None


def test_a_retry_that_would_begin_too_late_is_not_made():
    retry = Retry(initial_seconds=10, jitter=0, max_elapsed_seconds=30)
    assert after(retry, OSError(), elapsed=20) == 10
    assert after(retry, OSError(), elapsed=20.1) is None


def test_retry_after_sets_the_delay_beyond_the_maximum_but_within_the_limits():
    retry = Retry(max_attempts=3, maximum_seconds=60, max_elapsed_seconds=1000)
    assert after(retry, RetryAfter(600)) == 600
    assert after(retry, RetryAfter(600), attempt=3) is None
    assert after(retry, RetryAfter(600), elapsed=500) is None


def test_retry_after_gives_a_delay_that_a_date_can_hold():
    assert after(Retry(), RetryAfter(1e300)) == LONGEST_SECONDS
