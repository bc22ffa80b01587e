"""Which executions would today's code break? Asked before a deploy, beside workers that go on. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from django_durable.definitions import registry
from django_durable.engine import dry_run, recordings
from django_durable.engine.recordings import Recording
from django_durable.exceptions import (
    DurableError,
    ExecutionNotFoundError,
    NondeterminismError,
    UnknownWorkflowError,
)
from django_durable.models import Execution, Timer

BATCH = 500  # ids


class Verdict(StrEnum):
    FITS = "fit"
    STUCK = "would be stuck"
    FAILED = "would fail"
    UNKNOWN = "unknown code"


@dataclass(frozen=True, slots=True)
class Finding:
    """What today's code makes of one execution; reason: one line, empty if it fits."""

    verdict: Verdict
    recording: Recording
    reason: str = ""


def live(*, using: str, workflows: Collection[str] = ()) -> Iterator[UUID]:
    """Ids of the executions that have not ended, newest first, read as they are asked for."""
    timers = Timer.objects.using(using)
    return _newest_first(timers.filter(execution__workflow__in=workflows) if workflows else timers.all())


def newest(limit: int, *, using: str, workflows: Collection[str] = ()) -> Iterator[UUID]:
    """Ids of the newest executions, those that have ended too."""
    executions = Execution.objects.using(using)
    found = executions.filter(workflow__in=workflows) if workflows else executions.all()
    return islice(_newest_first(found), limit)


def _newest_first(rows: QuerySet[Any, Any]) -> Iterator[UUID]:
    """By primary key, which sorts by creation. What starts meanwhile is newer than the first page, so this ends."""
    page = rows.order_by("-pk")
    while ids := list(page.values_list("pk", flat=True)[:BATCH]):
        yield from ids
        page = rows.filter(pk__lt=ids[-1]).order_by("-pk")


def look_at(execution_id: UUID, *, using: str, is_live: bool) -> Finding | None:
    """Judge an execution that may move on while it is read.

    Bad news counts when two reads in a row are equal: between them nothing moved, so they show one moment.
    is_live: only if it still is. None: it is gone, or has ended and only live ones were asked for.
    """
    found: Finding | None = None
    while True:
        try:
            recording = recordings.read(execution_id, using=using)
        except ExecutionNotFoundError:
            return None
        if is_live and recording.is_closed:
            return None
        if found is not None and found.recording == recording:
            return found
        found = judge(recording)
        if found.verdict is Verdict.FITS:
            return found


def judge(recording: Recording) -> Finding:
    """What today's code makes of a recording."""
    try:
        report = dry_run.replay(recording)
    except UnknownWorkflowError:
        return Finding(Verdict.UNKNOWN, recording, _what_is_known(recording.workflow))
    if report.mismatch is not None:
        return Finding(Verdict.STUCK, recording, _one_line(_difference(report.mismatch)))
    if report.end == "raised" and not recording.history and not recording.is_closed:
        # It has done nothing yet, and today's code raises before it does anything: mostly it wants an argument more.
        return Finding(Verdict.FAILED, recording, _one_line(f"{type(report.error).__name__}: {report.error}"))
    return Finding(Verdict.FITS, recording)


def _what_is_known(workflow: str) -> str:
    versions = sorted(definition.version for definition in registry if definition.name == workflow)
    if not versions:
        return "no workflow of that name is registered"
    return f"registered under that name: version {', '.join(map(str, versions))}"


def _difference(mismatch: DurableError) -> str:
    return mismatch.difference if isinstance(mismatch, NondeterminismError) else str(mismatch)


def _one_line(text: str) -> str:
    return " ".join(text.split())
