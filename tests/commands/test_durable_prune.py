"""``manage.py durable_prune`` and ``durable_erase``: arguments in, numbers out."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_durable import archive
from django_durable.clock import DatabaseNow
from django_durable.engine import offloading, payloads
from django_durable.models import AuditEntry, Execution
from tests.authoring import NO_BROKER
from tests.models import rows

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def old(settings, tmp_path):
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "files": backend}
    settings.DURABLE = {**NO_BROKER, "RETENTION": 10 * DAY, "AUDIT_RETENTION": 10 * DAY}
    for workflow, status in (("a", "completed"), ("a", "failed"), ("b", "completed")):
        rows.closed(status, workflow=workflow)
    rows.execution()
    rows.audit()
    AuditEntry.objects.update(created_at=rows.AT)


def run(command, *arguments):
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip()


def test_it_deletes_all_batches_and_says_how_many(old):
    told = json.loads(run("durable_prune", "--batch-size", "2", "--json"))
    assert told == {"deleted": 3, "batches": 2, "audit_entries": 1, "webhook_deliveries": 0, "archives": []}
    assert Execution.objects.count() == 1


def test_it_tells_people_too(old):
    assert run("durable_prune").startswith("deleted: 3, batches: 1, audit entries: 1")


def test_a_dry_run_counts_and_deletes_nothing(old):
    assert run("durable_prune", "--dry-run").splitlines() == [
        "1 a completed",
        "       1 a failed",
        "       1 b completed",
        "would delete: 3",
    ]
    assert Execution.objects.count() == 4


@pytest.mark.parametrize(
    ("arguments", "deleted"),
    [
        (["--workflow", "a"], 2),
        (["--workflow", "a", "--status", "failed"], 1),
        (["--before", rows.AT.isoformat()], 0),
        (["--before", (rows.AT + DAY).isoformat(), "--status", "completed"], 2),
        (["--max-seconds", "0"], 0),
    ],
)
def test_it_can_be_narrowed(old, arguments, deleted):
    assert json.loads(run("durable_prune", "--json", *arguments))["deleted"] == deleted


def test_it_archives_first(old, settings):
    settings.DURABLE = {**settings.DURABLE, "ARCHIVE": "files"}
    (name,) = json.loads(run("durable_prune", "--json"))["archives"]
    assert len(list(archive.read(name))) == 3


def test_it_sweeps_orphans(old, settings, tmp_path):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_OFFLOAD_BYTES": 10, "PAYLOAD_STORAGE": "files"}
    payloads.dump("too much for a row")
    folder = tmp_path / offloading.FOLDER
    (day,) = folder.iterdir()
    day.rename(folder / "2020-01-01")
    assert json.loads(run("durable_prune", "--orphans", "--json")) == {"files": 1}
    assert Execution.objects.count() == 4


@pytest.mark.parametrize("argument", [["--before", "2026-01-01T00:00"], ["--before", "x"], ["--batch-size", "0"]])
def test_a_value_of_no_use_is_refused(old, argument):
    with pytest.raises(CommandError):
        run("durable_prune", *argument)


def test_a_mistake_in_the_settings_is_told(old, settings):
    settings.DURABLE = {**settings.DURABLE, "RETENTION": "30 days"}
    with pytest.raises(CommandError, match="RETENTION"):
        run("durable_prune")


def test_erase_says_how_many(transactional_db, settings):
    settings.DURABLE = NO_BROKER
    rows.closed(subject_type="shop.person", subject_id="7")
    arguments = ("durable_erase", "shop.Person", "7", "--actor", "dpo", "--reason", "request")
    assert json.loads(run(*arguments, "--json")) == {"erased": 1}
    assert run(*arguments) == "erased: 0"
    rows.execution(subject_type="shop.person", subject_id="7", finished_at=None, created_at=DatabaseNow())
    with pytest.raises(CommandError, match="pending"):
        run(*arguments)
