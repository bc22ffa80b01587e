"""Whoever prunes or erases dies at every database call, and does it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from django.db import transaction

from django_durable import archive, client
from django_durable.engine import offloading, payloads, retention
from django_durable.engine.retention import Wanted
from django_durable.models import AuditEntry, Execution, Signal, Step
from tests.crash.sweep import Play, Scenario, Sweep, work
from tests.crash.test_crash_sweep import least, start
from tests.ledger_app import programs
from tests.models import rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
SECRET = "Adalovelace " * 20


def ids(play: Play) -> list[UUID]:
    return [uuid5(NAMESPACE_URL, f"{play.key} {number}") for number in range(3)]


def make_old(play: Play) -> None:
    """Three that ended long ago, one of them the child of another; once."""
    if Execution.objects.filter(workflow=play.key).exists():
        return
    with transaction.atomic():
        for pk in ids(play):
            about = {"subject_type": "shop.person", "subject_id": play.key} if pk != ids(play)[2] else {}
            old = rows.closed(pk=pk, workflow=play.key, input=payloads.dump(SECRET), **about)
            rows.step(old, result=payloads.dump(SECRET))
            rows.signal(old)
        Execution.objects.filter(pk=ids(play)[2]).update(parent=ids(play)[1])


def prune(play: Play) -> None:
    wanted = Wanted(workflow=play.key, status="completed", before=rows.AT + rows.HOUR)
    while not retention.prune(wanted, size=2, using="default").is_last:
        pass


def look_for_them(play: Play) -> None:
    """All are in the archive, and no row of them anywhere else."""
    archived = {line["id"]: line for name in archive.files() for line in archive.read(name)}
    for pk in ids(play):
        assert payloads.load(archived[str(pk)]["input"]) == SECRET
        assert len(archived[str(pk)]["history"]) == 1
    assert not Execution.objects.filter(workflow=play.key).exists()
    assert not any(model.objects.filter(execution_id__in=ids(play)).exists() for model in (Step, Signal))


def erase(play: Play) -> None:
    client.erase(("shop.person", play.key), actor="dpo", reason="request")


def look_for_traces(play: Play) -> None:
    """Each is a tombstone with one entry about it."""
    texts: list[Any] = list(Execution.objects.filter(pk__in=ids(play)).values_list("input", "subject_id"))
    texts += Step.objects.filter(execution_id__in=ids(play)).values_list("result")
    assert {text for row in texts for text in row} == {payloads.ERASED, ""}
    assert AuditEntry.objects.filter(execution_id__in=ids(play), kind="erased").count() == 3


STORIES = [
    Scenario(
        name="prune with an archive",
        workflow=programs.plain,
        args=(7,),
        acts=(start, work, make_old, prune, look_for_them),
        ends=(("completed", [7, (1, 2), ["apple", "pear"]]),),
        at_least=90,
    ),
    Scenario(
        name="erase a subject",
        workflow=programs.plain,
        args=(7,),
        acts=(start, work, make_old, erase, look_for_traces),
        ends=(("completed", [7, (1, 2), ["apple", "pear"]]),),
        at_least=90,
    ),
]


@pytest.mark.parametrize("scenario", STORIES, ids=lambda scenario: scenario.name)
def test_every_crash_of_retention_is_recovered(sweep: Sweep, settings: Any, tmp_path: Path, scenario: Scenario) -> None:
    backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / "files"}}
    settings.STORAGES = {**settings.STORAGES, "files": backend}
    files = {"ARCHIVE": "files", "PAYLOAD_OFFLOAD_BYTES": 100, "PAYLOAD_STORAGE": "files"}
    settings.DURABLE = {**settings.DURABLE, **files}

    assert sweep.run(scenario) >= least(scenario)

    for model, _, columns in offloading.COLUMNS:
        for name in offloading._referred(model._base_manager.all(), columns):
            assert (tmp_path / "files" / name).exists(), "a reference leads nowhere"
