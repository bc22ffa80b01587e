"""Large payloads in files: written before their rows, read back by everybody, gone with them."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_durable import client, clock, step, workflow
from django_durable.engine import offloading, payloads, recordings, retention
from django_durable.engine.dry_run import replay
from django_durable.exceptions import CodecError, ConfigurationError, PayloadTooLargeError
from django_durable.models import Execution, Step
from tests.ciphers import ROT13
from tests.models import rows

BIG = "ä" * 300


@pytest.fixture
def folder(durable, settings, tmp_path):
    storage = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "payloads": storage}
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_OFFLOAD_BYTES": 400, "PAYLOAD_STORAGE": "payloads"}
    return tmp_path / offloading.FOLDER


def files(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def big(folder):
    @workflow("big")
    def big(ctx, text):
        told = ctx.step("tell", lambda: text)
        return [told, ctx.wait_for_signal("more", timeout=60)]

    return big


def test_only_what_is_large_as_stored_goes_to_a_file(folder):
    assert payloads.load(payloads.dump("x" * 300)) == "x" * 300
    assert files(folder) == []
    text = payloads.dump(BIG)
    assert text.startswith(offloading.PREFIX)
    assert len(files(folder)) == 1
    assert payloads.load(text) == BIG


def test_input_steps_signals_and_results_are_read_back(durable, big, folder):
    execution = big.start(BIG)
    durable.run_until_idle()
    durable.signal(execution, "more", BIG)
    assert client.result(execution) == [BIG, BIG]
    assert len(files(folder)) == 4
    row = Execution.objects.get(pk=execution.id)
    assert row.input.startswith(offloading.PREFIX)
    assert row.result.startswith(offloading.PREFIX)


def test_the_file_holds_what_the_cipher_made(folder, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": ROT13}
    text = payloads.dump(BIG)
    assert files(folder)[0].read_text().startswith("sealed:")
    assert payloads.load(text) == BIG


def test_the_limit_counts_for_files_too(folder, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_LIMIT_BYTES": 500}
    with pytest.raises(PayloadTooLargeError):
        payloads.dump(BIG)
    assert files(folder) == []


def test_a_large_result_of_a_step_costs_no_statement(durable, big, folder, settings):
    def cost(text):
        big.start(text)
        with CaptureQueriesContext(connection) as queries:
            durable.run_until_idle()
        return len(queries)

    cost("warm")
    assert cost(BIG) == cost("small")


def test_a_storage_that_fails_leaves_the_payload_in_its_row(folder, caplog):
    folder.parent.joinpath(offloading.FOLDER).write_text("in the way")
    text = payloads.dump(BIG)
    assert not text.startswith(offloading.PREFIX)
    assert payloads.load(text) == BIG
    assert "could not be written" in caplog.text
    assert "ä" not in caplog.messages[0]


def test_a_file_that_is_gone_or_changed_is_refused(folder):
    gone, changed = payloads.dump(BIG), payloads.dump(BIG)
    last = files(folder)
    next(path for path in last if changed.endswith(path.name)).write_text("[1, 7]")
    with pytest.raises(CodecError, match="is not what was written"):
        payloads.load(changed)
    next(path for path in last if gone.endswith(path.name)).unlink()
    with pytest.raises(CodecError, match="cannot be read"):
        payloads.load(gone)


def test_a_reference_leads_nowhere_else(folder):
    with pytest.raises(CodecError, match="cannot be read"):
        payloads.load(f"{offloading.PREFIX}{'0' * 64}:../../etc/passwd")


def test_a_missing_storage_is_an_error_of_the_settings(folder, settings):
    text = payloads.dump(BIG)
    settings.DURABLE = {}
    with pytest.raises(ConfigurationError, match="PAYLOAD_STORAGE"):
        payloads.load(text)
    settings.DURABLE = {"PAYLOAD_OFFLOAD_BYTES": 400}
    with pytest.raises(ConfigurationError, match="PAYLOAD_STORAGE"):
        payloads.dump(1)


def test_a_dry_run_writes_no_file(durable, folder):
    @workflow("flow")
    def flow(ctx):
        return "x" * 1000

    execution = flow.start()
    durable.run_until_idle()
    before = files(folder)
    report = replay(recordings.read(execution.id, using="default"))
    assert report.value == "x" * 1000
    assert files(folder) == before


def test_files_go_with_their_execution_and_no_others(durable, big, folder, settings):
    old = big.start(BIG)
    durable.run_until_idle()
    durable.signal(old, "more", BIG)
    durable.clock.advance(timedelta(days=2))
    young = big.start(BIG)
    durable.run_until_idle()
    settings.DURABLE = {**settings.DURABLE, "RETENTION": timedelta(days=1)}
    assert retention.prune(using="default").deleted == 1
    assert len(files(folder)) == 2
    durable.signal(young, "more")
    assert client.result(young) == [BIG, None]


def test_a_parent_keeps_the_result_of_a_child_that_is_deleted(durable, folder, settings):
    @workflow("child")
    def child(ctx):
        return BIG

    @workflow("parent")
    def parent(ctx):
        told = ctx.call(child)
        ctx.sleep(timedelta(days=1))
        return told == BIG

    execution = parent.start()
    durable.run_until_idle()
    child_row = Execution.objects.get(workflow="child")
    offloading.delete(offloading.files_of([child_row.pk], using="default"))
    durable.advance(timedelta(days=2))
    assert client.result(execution) is True


def test_a_transaction_that_is_rolled_back_leaves_a_file_that_is_swept(durable, big, folder):
    try:
        with transaction.atomic():
            big.start(BIG)
            raise KeyError
    except KeyError:
        pass
    kept = big.start(BIG)
    assert len(files(folder)) == 2
    assert offloading.sweep(ends_at=clock.monotonic() + 60) == 0
    durable.clock.advance(timedelta(days=4))
    assert offloading.sweep(ends_at=clock.monotonic() + 60) == 1
    durable.run_until_idle()
    durable.signal(kept, "more")
    assert client.result(kept) == [BIG, None]


def test_files_of_old_schedules_are_no_orphans(durable, folder):
    rows.schedule(input=payloads.dump(BIG))
    durable.clock.advance(timedelta(days=4))
    assert offloading.sweep(ends_at=clock.monotonic() + 60) == 0


def test_a_step_that_is_repeated_after_a_lost_commit_is_read(durable, folder):
    @step
    def make():
        return BIG

    @workflow("flow")
    def flow(ctx):
        return len(ctx.step(make))

    execution = flow.start()
    durable.run_until_idle()
    assert client.result(execution) == 300
    assert Step.objects.get().result.startswith(offloading.PREFIX)


def test_a_fork_with_a_patch_has_files_of_its_own(durable, folder, settings):
    @workflow("flow")
    def flow(ctx):
        told = ctx.step("tell", lambda: BIG)
        return [told, ctx.wait_for_signal("more", timeout=timedelta(days=9))]

    original = flow.start()
    durable.run_until_idle()
    fork = client.fork(original, 1, patch={"tell": "short"})
    durable.run_until_idle()
    durable.signal(fork, "more")
    assert client.result(fork) == ["short", None]
    durable.clock.advance(timedelta(days=2))
    settings.DURABLE = {**settings.DURABLE, "RETENTION": timedelta(days=1)}
    assert retention.prune(using="default").deleted == 1
    durable.signal(original, "more")
    assert client.result(original) == [BIG, None]


def test_every_column_that_holds_payloads_is_known(db):
    """Else ``sweep`` takes a file that is in use for an orphan."""
    known = {(model, column) for model, _, columns in (*offloading.COLUMNS, *offloading.OTHERS) for column in columns}
    held = {
        (model, field.name)
        for model in apps.get_app_config("django_durable").get_models()
        for field in model._meta.concrete_fields
        if field.name in {"input", "result", "error", "payload"}
    }
    assert known == held


def test_the_error_of_a_webhook_is_no_orphan(durable, folder):
    kept = rows.webhook(error=payloads.dump(BIG))
    durable.clock.advance(timedelta(days=4))
    assert offloading.sweep(ends_at=clock.monotonic() + 60) == 0
    assert payloads.load(kept.error) == BIG
