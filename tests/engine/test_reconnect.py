"""Going on after the database failed: look up before repeating, and stop where it is not ours to repeat."""

from unittest import mock

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from django_durable.engine import reconnect
from django_durable.engine.reconnect import is_passing, persist


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, instead of making them."""
    made = []
    monkeypatch.setattr(reconnect, "pause_and_reconnect", lambda using, delay: made.append(delay))
    return made


class Write:
    def __init__(self, *failures):
        self.failures = list(failures)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "written"


def never():
    return None


@pytest.fixture
def outside(monkeypatch):
    """Pretend that no transaction is open, as in a worker."""
    connection = mock.Mock(in_atomic_block=False)
    monkeypatch.setattr(reconnect, "connections", {"default": connection})
    return connection


def test_a_write_that_succeeds_is_not_looked_up(outside, pauses):
    looked = mock.Mock()
    assert persist("default", Write(), written=looked) == "written"
    looked.assert_not_called()


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_a_failed_write_is_repeated_after_a_pause(outside, pauses, error):
    write = Write(error, error)
    assert persist("default", write, written=never) == "written"
    assert (write.calls, pauses) == (3, [0.0, 0.05])


def test_a_write_whose_reply_was_lost_is_not_repeated(outside, pauses):
    write = Write(OperationalError("gone"))
    assert persist("default", write, written=lambda: "found") == "found"
    assert write.calls == 1


def test_a_lookup_that_fails_is_repeated_too(outside, pauses):
    lookups = [OperationalError("still gone"), "found"]
    write = Write(OperationalError("gone"))
    assert persist("default", write, written=mock.Mock(side_effect=lookups)) == "found"
    assert write.calls == 1


def test_patience_ends_with_the_databases_own_error(outside, pauses):
    write = Write(*[OperationalError("gone")] * 100)
    with pytest.raises(OperationalError, match="gone"):
        persist("default", write, written=never)
    assert (write.calls, sum(pauses) < 15, max(pauses) <= 1) == (14, True, True)


def test_an_error_of_the_code_is_not_repeated(outside, pauses):
    write = Write(ProgrammingError("no such column"))
    with pytest.raises(ProgrammingError):
        persist("default", write, written=never)
    assert write.calls == 1


def test_inside_a_transaction_nothing_is_repeated(outside, pauses):
    outside.in_atomic_block = True
    write = Write(OperationalError("gone"))
    with pytest.raises(OperationalError):
        persist("default", write, written=never)
    assert (write.calls, pauses) == (1, [])


def test_a_pause_drops_the_connection(monkeypatch):
    connection, slept = mock.Mock(), []
    monkeypatch.setattr(reconnect, "connections", {"default": connection})
    monkeypatch.setattr(reconnect.time, "sleep", slept.append)
    reconnect.pause_and_reconnect("default", 0)
    reconnect.pause_and_reconnect("default", 2.0)
    assert connection.close.call_count == 2
    assert len(slept) == 1
    assert 1.0 <= slept[0] <= 2.0


def caused_by(sqlstate):
    error = OperationalError("server says")
    error.__cause__ = type("Cause", (Exception,), {"sqlstate": sqlstate})()
    return error


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (caused_by("40001"), True),
        (caused_by("40P01"), True),
        (caused_by("08006"), True),
        (caused_by("57P01"), True),
        (caused_by("55P03"), True),
        (caused_by("53100"), False),  # disk full
        (OperationalError(1213, "Deadlock found"), True),
        (OperationalError(1205, "Lock wait timeout"), True),
        (OperationalError(2006, "gone away"), True),
        (OperationalError(1114, "table is full"), False),
        (OperationalError("database is locked"), True),
        (OperationalError("no such table"), False),
        (ProgrammingError("no such column"), False),
        (ValueError("locked"), False),
    ],
    ids=repr,
)
def test_which_database_errors_are_the_moments(error, passing):
    connections["default"].ensure_connection()
    assert is_passing(error, "default") is passing
