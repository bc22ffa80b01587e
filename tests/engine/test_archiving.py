"""The archive: each execution is in a file before it is deleted, and can be read back from it."""

import gzip
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage

from django_durable import archive, client, workflow
from django_durable.engine import archiving, offloading, payloads, recordings, retention
from django_durable.engine.dry_run import replay
from django_durable.exceptions import ConfigurationError
from django_durable.models import Execution, Step
from tests.ciphers import ROT13
from tests.models import rows

DAY = timedelta(days=1)


@pytest.fixture
def storage(durable, settings, tmp_path):
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "archive": backend, "payloads": backend}
    settings.DURABLE = {**settings.DURABLE, "ARCHIVE": "archive", "RETENTION": DAY}
    return FileSystemStorage(location=tmp_path)


@pytest.fixture
def finish(durable, storage):
    @workflow("flow")
    def flow(ctx, name):
        ctx.emit("met", name)
        answer = ctx.wait_for_signal("answer", timeout=60)
        return ctx.step("join", lambda: f"{name}, {answer}")

    def finish(name="Ada", key=None):
        execution = flow.using(key=key, labels={"who": "x"}).start(name)
        durable.run_until_idle()
        durable.signal(execution, "answer", "yes")
        durable.clock.advance(2 * DAY)
        return execution

    return finish


def prune():
    return retention.prune(using="default")


def test_all_that_is_known_of_an_execution_is_in_its_line(finish):
    execution = finish(key="k 1")
    rows.audit(execution_id=execution.id, reason="because")
    batch = prune()
    (line,) = archive.read(batch.archive)
    assert (line["id"], line["workflow"], line["status"]) == (str(execution.id), "flow", "completed")
    assert (line["execution"]["key"], line["execution"]["labels"]) == ("k 1", {"who": "x"})
    assert payloads.load(line["execution"]["result"]) == "Ada, yes"
    assert [step["name"] for step in line["history"]] == ["emit:met", "signal:answer", "join"]
    assert [payloads.load(signal["payload"]) for signal in line["signals"]] == ["yes"]
    assert [payloads.load(event["payload"]) for event in line["events"]] == ["Ada"]
    assert [entry["reason"] for entry in line["audit"]] == ["because"]
    assert Execution.objects.count() == 0


def test_what_was_set_aside_and_said_is_in_its_line_too(finish):
    execution = finish()
    rows.set_aside(Execution.objects.get(pk=execution.id), result=payloads.dump("before"))
    rows.log_line(Execution.objects.get(pk=execution.id), message="hello")
    (line,) = archive.read(prune().archive)
    assert [payloads.load(step["result"]) for step in line["set_aside"]] == ["before"]
    assert [said["message"] for said in line["log_lines"]] == ["hello"]


def test_labels_and_audit_entries_may_be_named_like_payloads(finish, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": ROT13}
    execution = finish()
    Execution.objects.filter(pk=execution.id).update(labels={"result": "plain"})
    rows.audit(execution_id=execution.id, before={"error": "plain"}, after={"input": "plain"})
    (line,) = archive.read(prune().archive)
    assert line["execution"]["labels"] == {"result": "plain"}
    assert (line["audit"][0]["before"], line["audit"][0]["after"]) == ({"error": "plain"}, {"input": "plain"})
    assert payloads.load(payloads.seal(line["execution"]["result"])) == "Ada, yes"


def test_a_line_can_be_replayed(finish):
    finish()
    (line,) = archive.read(prune().archive)
    assert replay(recordings.imported(line)).value == "Ada, yes"


def test_payloads_stay_sealed_in_the_file(finish, storage, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": ROT13}
    finish(name="Adalovelace")
    name = prune().archive
    with storage.open(name) as file:
        assert b"Adalovelace" not in gzip.decompress(file.read())
    (line,) = archive.read(name)
    assert "Adalovelace" in line["input"]
    assert replay(recordings.imported(line)).value == "Adalovelace, yes"


def test_payloads_that_were_in_files_are_in_the_line(finish, storage, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_OFFLOAD_BYTES": 100, "PAYLOAD_STORAGE": "payloads"}
    finish(name="x" * 500)
    assert Step.objects.filter(result__startswith=offloading.PREFIX).exists()
    (line,) = archive.read(prune().archive)
    assert "x" * 500 in line["input"]


def test_one_file_for_each_batch(finish):
    for name in "abc":
        finish(name)
    names = [retention.prune(size=2, using="default").archive for _ in range(2)]
    assert list(archive.files()) == sorted(names)
    assert sorted(len(list(archive.read(name))) for name in names) == [1, 2]


def test_a_storage_that_fails_has_nothing_deleted(finish, monkeypatch):
    def fail(*_):
        raise OSError("full")

    finish()
    monkeypatch.setattr(FileSystemStorage, "_save", fail)
    with pytest.raises(OSError, match="full"):
        prune()
    assert Execution.objects.count() == 1


def test_who_dies_before_the_rows_go_has_archived_them_twice(finish, monkeypatch):
    execution = finish()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_delete", die)
        with pytest.raises(KeyboardInterrupt):
            prune()
    assert Execution.objects.count() == 1
    prune()
    names = list(archive.files())
    assert len(names) == 2
    assert {line["id"] for name in names for line in archive.read(name)} == {str(execution.id)}


@pytest.mark.parametrize("cut", [1, 30])
def test_a_torn_file_is_read_as_far_as_it_goes(finish, storage, cut):
    for name in "ab":
        finish(name)
    name = prune().archive
    path = Path(storage.path(name))
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(list(archive.read(name))) <= 2


def test_an_empty_archive_has_no_files(storage):
    assert list(archive.files()) == []
    assert prune().archive is None


def test_without_an_archive_reading_says_so(settings):
    settings.DURABLE = {}
    with pytest.raises(ConfigurationError, match="ARCHIVE"):
        list(archive.files())


def test_erased_payloads_stay_erased(finish, durable, settings):
    execution = finish()
    subject = ("shop.person", "7")
    Execution.objects.filter(pk=execution.id).update(subject_type=subject[0], subject_id=subject[1])
    client.erase(subject, actor="dpo", reason="request")
    (line,) = archive.read(prune().archive)
    assert line["input"] == payloads.ERASED
    assert archiving.FOLDER in next(archive.files())
