"""Faults on purpose: the counter that dies at a database call, and the dispatcher that lies."""

import uuid

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction

from django_durable.testing.faults import DatabaseCalls, LyingDispatcher, watch_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def connected():
    """A new connection sends statements of its own."""
    connection.ensure_connection()


def work():
    with transaction.atomic():
        Group.objects.create(name="a")
        Group.objects.filter(name="a").update(name="b")


def die():
    """A real one ends the process; for Django this is a database that does not answer any more."""
    raise OperationalError("died here")


def test_every_call_is_seen_commit_included():
    with watch_database(DatabaseCalls()) as calls:
        work()
    assert [name.split()[0] for name in calls.seen] in (
        ["INSERT", "UPDATE", "COMMIT"],
        ["BEGIN", "INSERT", "UPDATE", "COMMIT"],  # SQLite
    )


def test_a_rollback_is_seen():
    with watch_database(DatabaseCalls()) as calls, transaction.atomic():
        Group.objects.create(name="a")
        transaction.set_rollback(True)
    assert calls.seen[-1] == "ROLLBACK"


@pytest.mark.parametrize(("when", "written"), [("before", False), ("after", True)])
def test_it_dies_at_the_chosen_call_before_or_after_the_database_has_it(when, written):
    with watch_database(DatabaseCalls()) as counted:
        work()
    Group.objects.all().delete()
    commit = DatabaseCalls(at=len(counted.seen), when=when, die=die)
    with pytest.raises(OperationalError, match="died here"), watch_database(commit):
        work()
    assert commit.seen[len(counted.seen) - 1] == "COMMIT"
    assert Group.objects.filter(name="b").exists() is written


def test_after_the_block_nothing_is_watched():
    with watch_database(DatabaseCalls()) as calls:
        pass
    work()
    assert calls.seen == []


@pytest.fixture
def hints():
    LyingDispatcher.clear()
    for number in range(10):
        LyingDispatcher().wake(uuid.UUID(int=number), queue="default", using="default")
    LyingDispatcher().drain("default", using="default")
    yield LyingDispatcher.hints
    LyingDispatcher.clear()


def test_hints_are_kept_until_they_are_taken(hints):
    assert len(hints) == 11
    taken = LyingDispatcher.take()
    assert len(taken) == 11
    assert ("drain", "default", "default") in taken
    assert hints == []


def test_hints_can_be_lost_or_multiplied(hints):
    assert len(LyingDispatcher.take(copies=5)) == 55


def test_all_hints_can_be_lost(hints):
    assert LyingDispatcher.take(drop=1.0) == []


def test_the_order_is_random_and_the_same_for_a_seed(hints):
    given = list(hints)
    first = LyingDispatcher.take(seed=3)
    LyingDispatcher.hints.extend(given)
    assert LyingDispatcher.take(seed=3) == first != given
