"""How long a history may get: people are told at one length, and at another nothing more is recorded.

A replay reads and matches all of it at every pass, so an endless workflow gets slower until it continues as new.
"""

from __future__ import annotations

from django_durable import signals
from django_durable.conf import get_settings
from django_durable.engine.journal import Journal
from django_durable.exceptions import DurableError
from django_durable.models import Execution


def reached(length: int) -> DurableError | None:
    """What to say to people when a history of that length is to get one more call."""
    limit = get_settings().history_limit
    if length < limit:
        return None
    return DurableError(
        f"The history has {length} checkpoints, DURABLE['HISTORY_LIMIT'] allows {limit}. Nothing new was run. Let the "
        "workflow call ctx.continue_as_new() when ctx.should_continue_as_new is true. This execution goes on by itself "
        "once the limit is raised; or cancel it."
    )


def is_long(length: int) -> bool:
    return length >= get_settings().history_warning


def tell(journal: Journal, workflow: str, length: int) -> None:
    """Warn people, once in the pass in which the history has come to that length."""
    if journal.is_told_long or not is_long(length):
        return
    journal.is_told_long = True
    claim = journal.claim
    signals.send_on_commit(
        signals.history_long,
        sender=Execution,
        using=claim.using,
        execution_id=claim.execution_id,
        workflow=workflow,
        length=length,
    )
