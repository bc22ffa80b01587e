"""Exports come back as they were, and nothing else is taken for one."""

import copy
import json
from datetime import timedelta
from uuid import UUID

import pytest

from django_durable import client
from django_durable.engine import recordings
from django_durable.exceptions import ExecutionNotFoundError, InvalidOptionError
from tests.authoring import Deployed, no_op


@pytest.fixture
def recording(durable):
    def code(ctx):
        ctx.now()
        ctx.step("a", no_op, "é")
        ctx.sleep(60)

    execution = Deployed("recordings.flow", code).workflow.start()
    durable.run_until_idle()
    client.signal(execution, "later", 1)
    return recordings.read(execution.id, using="default")


@pytest.fixture
def data(recording):
    return json.loads(json.dumps(recordings.exported(recording)))


def test_a_recording_is_what_the_tables_hold(recording):
    assert (recording.workflow, recording.version, recording.status) == ("recordings.flow", 1, "sleeping")
    assert [checkpoint.name for checkpoint in recording.history] == ["now", "a", "sleep"]
    assert [signal.name for signal in recording.inbox] == ["later"]


def test_an_export_comes_back_equal_but_for_what_is_pending(recording, data):
    found = recordings.imported(data)
    assert found.inbox == []
    assert (found.id, found.input, found.history) == (recording.id, recording.input, recording.history)


class Reversing:
    def seal(self, text):
        return text[::-1]

    def open(self, text):
        return text[::-1]


def test_an_export_is_in_plain_text_and_sealed_again_when_read(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": f"{__name__}.Reversing"}
    execution = Deployed("recordings.sealed", lambda ctx, given: ctx.note(given)).workflow.start("secret")
    durable.advance(timedelta(0))
    recording = recordings.read(execution.id, using="default")
    assert "secret" not in recording.input

    data = recordings.exported(recording)

    assert "secret" in data["input"]
    assert "secret" in data["history"][0]["result"]
    found = recordings.imported(data)
    assert (found.input, found.history) == (recording.input, recording.history)


@pytest.mark.django_db
def test_what_is_not_there_cannot_be_read():
    with pytest.raises(ExecutionNotFoundError):
        recordings.read(UUID(int=0), using="default")


@pytest.mark.parametrize("data", [None, 5, "text", [], {}, [1], {"format": 1}, {"format": 1, "id": "x"}])
def test_what_is_no_export_is_refused(data):
    with pytest.raises(InvalidOptionError, match=r"no exported history of format 1: .*durable_export"):
        recordings.imported(data)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format",), 2),
        (("id",), "not an id"),
        (("id",), None),
        (("version",), "1"),
        (("workflow",), None),
        (("input",), {"args": []}),
        (("history",), {}),
        (("history", 0), 5),
        (("history", 1, "position"), 0),
        (("history", 1, "name"), 7),
        (("history", 1, "kind"), ["step"]),
        (("history", 1, "status"), None),
        (("history", 1, "result"), 5),
        (("history", 1, "started_at"), "yesterday"),
        (("history", 1, "started_at"), 5),
        (("history", 1, "unheard_of"), 5),
        (("history", 1, "id"), "x"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value),
)
def test_an_export_that_was_damaged_is_refused(data, place, value):
    damaged = copy.deepcopy(data)
    *path, last = place
    where = damaged
    for name in path:
        where = where[name]
    where[last] = value
    with pytest.raises(InvalidOptionError, match="no exported history"):
        recordings.imported(damaged)
