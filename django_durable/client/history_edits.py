"""What operators do with a history: go on from an earlier place, start from a copy, and decide what a step gave.

Each is one transaction with its audit entry, and joins the caller's. Nothing of a history is lost: what no longer
counts is set aside, see ``inspect``. Which verb is accepted in which status stands in ``verbs()``; a refused one raises
ExecutionConflict and writes nothing. All raise ExecutionNotFoundError.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django_durable.client.targets import Target, actor_of, alias_of, id_of
from django_durable.clock import to_seconds
from django_durable.engine import chains, copying, patching, retrying
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution


def retry(
    execution: Target,
    *,
    from_step: int | str | None = None,
    compensate: bool = False,
    patch: Mapping[str, Any] | None = None,
    timeout: timedelta | float | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Let an execution that has ended without success, or is stuck, go on from its checkpoints.

    The call that it failed or was interrupted by is set aside with all behind it, and made again; so are steps that
    were undone. Children that it failed by are retried with it. Of one that is stuck nothing is set aside.
    from_step: name or position: that step and all behind it run again, whatever came of them.
    compensate: first undo what completed there and offers it, the latest first; without it nothing is undone.
    patch: the result of that first step, by its name, in place of running it.
    timeout: a new deadline from now; else one that is over no longer counts.
    Raises InvalidOptionError for compensate without from_step and for a patch, CodecError. Transaction: the caller's.
    """
    if compensate and from_step is None:
        raise InvalidOptionError("compensate= needs from_step=: name the step from which on all is to be undone.")
    how = retrying.How(
        from_step=from_step,
        compensates=compensate,
        patch=patch or {},
        timeout_seconds=None if timeout is None else to_seconds(timeout, "timeout"),
    )
    order = partial(retrying.retry, how=how, using=alias_of(using), actor=actor_of(actor), reason=reason)
    chains.follow(order, id_of(execution))


def restart(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> Execution:
    """Start a closed execution's workflow anew with the same input, by its newest code; it takes over the key.

    Labels, subject and queue are the same, and as much time to the deadline. ``origin`` of the new one is the old one.
    Raises UnknownWorkflowError, TypeError for an input that does not fit any more. Transaction: the caller's.
    """
    order = partial(copying.restart, using=alias_of(using), actor=actor_of(actor), reason=reason)
    return chains.follow(order, id_of(execution))


def fork(
    execution: Target,
    from_step: int | str,
    *,
    input: Mapping[str, Any] | None = None,
    patch: Mapping[str, Any] | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> Execution:
    """Start a copy of an execution that has done what is recorded before a step, and goes on from there by itself.

    The original stays as it is, open or closed. The copy has no key and no parent; ``origin`` is the original. Steps
    that run in it have idempotency keys of their own.
    input: other arguments of the workflow, by name. patch: other results of copied steps, by name; with the name of
    ``from_step`` itself the copy goes on behind it.
    Raises ExecutionConflict where the copy would wait for what comes to the original only: an open call, a child, a map
    or a token before that step; InvalidOptionError, CodecError, TypeError. Transaction: the caller's.
    """
    how = copying.Fork(from_step=from_step, input=input, patch=patch or {})
    return copying.fork(id_of(execution), how, using=alias_of(using), actor=actor_of(actor), reason=reason)


def patch_step(
    execution: Target,
    step: int | str,
    result: object,
    *,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Set the result of a step that is recorded, by name or position; one that is being retried is not tried again.

    What was recorded before is set aside. Code that would go another way with a new result than the history behind it
    is stuck with the difference, until it is retried from a step behind this one.
    Raises InvalidOptionError for what is no step, or a result that is not of the class that its function declares to
    return; CodecError. Transaction: the caller's.
    """
    patching.patch_step(id_of(execution), step, result, using=alias_of(using), actor=actor_of(actor), reason=reason)


def skip_step(
    execution: Target, step: int | str, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Go on without a step that is being retried: the workflow gets None for it, and it is never undone.

    Give another result with ``patch_step``. Raises InvalidOptionError for what is no step. Transaction: the caller's.
    """
    patching.skip_step(id_of(execution), step, using=alias_of(using), actor=actor_of(actor), reason=reason)
