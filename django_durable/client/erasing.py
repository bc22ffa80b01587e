"""Forgetting people."""

from __future__ import annotations

from django.db import models

from django_durable.client.targets import actor_of, alias_of
from django_durable.engine import erasure
from django_durable.exceptions import InvalidOptionError


def erase(
    subject: models.Model | tuple[str, object],
    *,
    actor: object,
    reason: str,
    terminate: bool = False,
    using: str | None = None,
) -> int:
    """Remove what executions about a subject, their children and copies of these hold; how many this call has erased.

    Each keeps its row: id, workflow, status, times; and an audit entry with actor and reason, which should not name the
    person. Inputs, results, errors, steps, signals, events, keys, labels and the id of the subject are gone for good.
    subject: as given to ``using(subject=)``, or ``("app.model", id)`` once its row is deleted.
    terminate: those that are open first. Without it they raise ExecutionConflict, as events that are not delivered
    always do. Repeating it is harmless. Archives and backups are not touched.
    Transaction: the caller's, or one for each few hundred executions.
    """
    subject_type, subject_id = _named(subject)
    return erasure.erase(
        subject_type, subject_id, terminate=terminate, using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def _named(subject: object) -> tuple[str, str]:
    if isinstance(subject, models.Model):
        subject = subject._meta.label_lower, subject.pk
    if not isinstance(subject, tuple) or len(subject) != 2 or subject[1] in (None, "") or not subject[0]:
        raise InvalidOptionError(f'subject={subject!r}: give a saved model instance, or ("app.model", id).')
    return str(subject[0]).lower(), str(subject[1])
