"""The feed: one order of what happened, in which nothing appears below a position that was read."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from django_durable import InvalidOptionError, TransactionOpenError, client, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import feed as feeding
from django_durable.models import AuditEntry, Execution, FeedHead
from tests.models import rows

pytestmark = pytest.mark.django_db


class Broken(Exception):
    pass


@pytest.fixture
def shipping():
    @workflow("shipping")
    def shipping(ctx, number):
        ctx.emit("shipped", {"number": number})
        raise Broken

    return shipping


def kinds(page):
    return [entry.kind for entry in page.entries]


def positions(page):
    return [entry.position for entry in page.entries]


def test_audit_entries_and_emitted_events_come_in_one_order(durable, shipping):
    run = shipping.start(7)
    client.cancel(run, actor="ada", reason="changed her mind")
    other = shipping.start(8)
    durable.run_until_idle()
    page = client.feed(execution=other)
    assert kinds(page) == ["event:shipped", "failed"]
    assert kinds(client.feed(execution=run)) == ["cancel_requested", "cancelled"]
    assert positions(client.feed()) == [1, 2, 3, 4]
    cancelled = client.feed(kinds=["cancel_requested"]).entries[0]
    assert (cancelled.execution_id, cancelled.workflow, cancelled.actor) == (run.id, "shipping", "ada")
    assert (cancelled.reason, cancelled.before["status"], cancelled.payload) == ("changed her mind", "pending", None)


def test_a_payload_is_there_when_it_is_asked_for(durable, shipping):
    shipping.start(7)
    durable.run_until_idle()
    assert client.feed(kinds=["event:shipped"]).entries[0].payload is None
    assert client.feed(kinds=["event:shipped"], payloads=True).entries[0].payload == {"number": 7}


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"kinds": ["failed"]}, ["failed", "failed"]),
        ({"kinds": ["event:shipped"]}, ["event:shipped", "event:shipped"]),
        ({"kinds": ["failed", "event:other"]}, ["failed", "failed"]),
        ({"kinds": ["event:other"]}, []),
        ({"workflow": "shipping"}, ["event:shipped", "failed"] * 2),
        ({"workflow": "another"}, []),
        ({"after": 3}, ["failed"]),
        ({"limit": 3}, ["event:shipped", "failed", "event:shipped"]),
    ],
)
def test_it_can_be_chosen_from(durable, shipping, choice, found):
    for number in (1, 2):
        shipping.start(number)
        durable.run_until_idle()
    assert kinds(client.feed(**choice)) == found


def test_pages_follow_each_other_and_a_filter_does_not_stay_behind(durable, shipping):
    for number in range(5):
        shipping.start(number)
    durable.run_until_idle()
    seen, after = [], 0
    while (page := client.feed(after=after, limit=3)).entries:
        seen += positions(page)
        after = page.position
    assert seen == list(range(1, 11))
    assert client.feed(kinds=["no such kind"]).position == client.feed_position() == 10


def test_what_was_read_is_not_told_again_and_what_is_new_comes_behind(durable, shipping):
    shipping.start(1)
    durable.run_until_idle()
    first = client.feed()
    assert client.feed(after=first.position).entries == ()
    shipping.start(2)
    durable.run_until_idle()
    assert positions(client.feed(after=first.position)) == [3, 4]


def test_more_than_one_batch_is_numbered_by_age(durable, monkeypatch):
    monkeypatch.setattr(feeding, "BATCH", 3)
    now = durable.clock.now()
    for minutes in (5, 2, 8, 1, 7, 3, 6, 4):
        rows.audit(kind=str(minutes), created_at=now - timedelta(minutes=minutes))
    assert kinds(client.feed()) == ["8", "7", "6", "5", "4", "3", "2", "1"]


def test_a_backlog_is_numbered_by_several_reads(durable, monkeypatch):
    monkeypatch.setattr(feeding, "BATCH", 2)
    monkeypatch.setattr(feeding, "MOST_BATCHES", 2)
    for _ in range(7):
        rows.audit()
    assert [client.feed().position, client.feed().position] == [4, 7]


def test_the_end_is_behind_all_that_has_happened_however_much(durable, monkeypatch):
    monkeypatch.setattr(feeding, "BATCH", 2)
    monkeypatch.setattr(feeding, "MOST_BATCHES", 1)
    for _ in range(5):
        rows.audit()
    endpoint, _ = client.add_webhook("https://example.com/hook")
    assert endpoint.position == 5
    rows.audit()
    rows.audit()
    assert client.feed_position() == 8  # with the entry of the endpoint itself


def test_what_retention_has_deleted_is_passed_over(durable):
    for _ in range(6):
        rows.audit()
    assert client.feed_position() == 6
    AuditEntry.objects.filter(position__lte=4).delete()
    page = client.feed(after=2)
    assert (positions(page), page.position) == ([5, 6], 6)
    AuditEntry.objects.all().delete()
    rows.audit()
    assert positions(client.feed(after=6)) == [7]


def test_what_was_erased_has_no_payload_and_holds_nobody_up(durable):
    execution = rows.closed(subject_type="app.model", subject_id="7")
    rows.event(execution)
    rows.event(rows.closed())
    client.erase(("app.model", 7), actor="dpo", reason="request")
    page = client.feed(kinds=["event:paid"], payloads=True)
    assert [entry.payload for entry in page.entries] == [None, 7]


def test_entries_of_a_deleted_execution_stay_without_a_workflow(durable, shipping):
    shipping.start(1)
    durable.run_until_idle()
    Execution.objects.all().delete()
    assert [(entry.kind, entry.workflow) for entry in client.feed().entries] == [("failed", "")]


@pytest.mark.parametrize(
    "bad",
    [
        {"after": -1},
        {"after": "7"},
        {"after": True},
        {"limit": 0},
        {"limit": 1001},
        {"kinds": "failed"},
        {"kinds": [""]},
        {"kinds": [7]},
        {"execution": "no id"},
        {"workflow": ""},
        {"after": 7},  # behind the end: of another database, or this one was restored
    ],
    ids=str,
)
def test_bad_input_is_refused(durable, bad):
    with pytest.raises(InvalidOptionError):
        client.feed(**bad)


# -- transactions --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_callers_transaction_gives_no_position_out():
    rows.audit(kind="one")
    with transaction.atomic():
        rows.audit(kind="two")
        assert client.feed().entries == ()
        transaction.set_rollback(True)
    assert FeedHead.objects.filter(position__gt=0).count() == 0
    assert [(entry.position, entry.kind) for entry in client.feed().entries] == [(1, "one")]


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_what_has_a_position_is_read():
    rows.audit()
    assert client.feed_position() == 1
    with transaction.atomic():
        rows.audit()
        assert positions(client.feed()) == [1]
    assert positions(client.feed()) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_commits_late_comes_behind_what_was_read():
    """The bug that every feed by sequence or by time has: older by its id and its time, and not there yet."""
    written, go_on = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            rows.audit(kind="late")
            written.set()
            assert go_on.wait(20)
        connection.close()

    writer = threading.Thread(target=late)
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time")
    writer.start()
    assert written.wait(20)
    rows.audit(kind="early", created_at=DatabaseNow())
    first = client.feed()
    go_on.set()
    writer.join()
    then = client.feed(after=first.position)
    assert [kinds(first), kinds(then)] == [["early"], ["late"]]


# -- follow --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_following_tells_what_comes_until_it_is_stopped():
    stop, seen = threading.Event(), []
    rows.audit(kind="before")
    following = client.follow(stop=stop)
    rows.audit(kind="one")
    for entry in following:
        seen.append(entry.kind)
        if entry.kind == "one":
            rows.audit(kind="two")
        if entry.kind == "two":
            stop.set()
    assert seen == ["one", "two"]


@pytest.mark.django_db(transaction=True)
def test_following_goes_on_after_a_position():
    for kind in ("one", "two", "three"):
        rows.audit(kind=kind)
    first = next(client.follow(after=0))
    assert [first.kind, next(client.follow(after=first.position)).kind] == ["one", "two"]
    assert next(client.follow(after=0, kinds=["three"])).kind == "three"


def test_following_in_a_transaction_ends_with_an_error_instead_of_never(durable):
    rows.audit()
    following = client.follow(after=0)
    assert next(following).position == 1
    with pytest.raises(TransactionOpenError):
        next(following)
