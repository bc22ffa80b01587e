"""Schedules that workflows declare, kept in step with the code: made, changed and removed.

The code has the last word about all that it says; a pause is the operator's and stays. A schedule whose workflow is not
registered here is left alone: this process may have a part of the code only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine.schedules import editing, rows
from django_durable.exceptions import ConfigurationError
from django_durable.models import Schedule
from django_durable.schedule_spec import ScheduleSpec

ACTOR = "code"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What was done, by name. updated: with the options that were changed. unknown: declared by workflows that this
    process does not have; left as they are."""

    created: list[str] = field(default_factory=list)
    updated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def has_changes(self) -> bool:
        return bool(self.created or self.updated or self.removed)

    def lines(self) -> list[str]:
        """For people; what is as it was is not told."""
        return [
            *(f"  created {name}" for name in self.created),
            *(f"  updated {name}: {', '.join(options)}" for name, options in self.updated.items()),
            *(f"  removed {name}" for name in self.removed),
            *(f"  left {name}: its workflow is not registered here" for name in self.unknown),
        ]


class _Undo(Exception):
    """Nothing that was done is kept."""


def declared() -> dict[str, tuple[ScheduleSpec, WorkflowDefinition[..., object]]]:
    """What the newest version of each registered workflow declares. Raises ConfigurationError for two of one name."""
    found: dict[str, tuple[ScheduleSpec, WorkflowDefinition[..., object]]] = {}
    for definition in sorted(registry, key=lambda one: one.name):
        if registry.find(definition.name) is not definition:
            continue
        for spec in definition.schedules:
            name = spec.id or definition.name
            if name in found:
                raise ConfigurationError(
                    f"Schedule {name!r} is declared by workflow {found[name][1].name!r} and by {definition.name!r}: "
                    "give one of them another id=."
                )
            found[name] = (spec, definition)
    return found


def sync(*, using: str, is_dry_run: bool = False, removes_unknown: bool = False) -> SyncReport:
    """Bring the database in step with the code, in one transaction. Harmless beside others that do the same.

    removes_unknown: those too that were declared by workflows which are not registered here.
    Raises ConfigurationError, and what a declaration is refused for.
    """
    report = SyncReport()
    try:
        with transaction.atomic(using=using):
            _sync(report, using, removes_unknown)
            if is_dry_run:
                raise _Undo
    except _Undo:
        pass
    return report


def _sync(report: SyncReport, using: str, removes_unknown: bool) -> None:
    wanted = declared()
    for name, (spec, definition) in sorted(wanted.items()):
        columns = {**rows.columns_of(spec, definition), "is_declared": True}
        done = editing.ensure(name, columns, using=using, actor=ACTOR)
        if done.outcome == "updated":
            report.updated[name] = done.changed
        else:
            (report.created if done.outcome == "created" else report.unchanged).append(name)
    left = Schedule.objects.using(using).filter(is_declared=True).exclude(name__in=list(wanted))
    known = {definition.name for definition in registry}
    for name, workflow in left.order_by("name").values_list("name", "workflow"):
        if workflow in known or removes_unknown:
            editing.remove(name, using=using, actor=ACTOR, reason="no longer declared")
            report.removed.append(name)
        else:
            report.unknown.append(name)
