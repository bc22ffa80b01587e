"""What operators do to one execution. Each verb is one transaction with its audit entry, and joins the caller's.

Which verb is accepted in which status stands in one table, ``verbs()``. A refused one raises ExecutionConflict, or
ExecutionClosedError for one that has ended, and nothing is written. All raise ExecutionNotFoundError.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django_durable.client.targets import Target, actor_of, alias_of, id_of
from django_durable.clock import to_instant
from django_durable.engine import adjusting, chains, deleting, forcing, pausing
from django_durable.engine.orders import VERBS, Verb
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_labels
from django_durable.options import PriorityName, check_priority


def verbs() -> list[Verb]:
    """All verbs by name, with the statuses in which each is accepted."""
    return [VERBS[name] for name in sorted(VERBS)]


def pause(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Set an execution aside until ``resume``; a step that runs comes to its end and is recorded.

    Signals are accepted meanwhile; a cancellation ends the pause. Timers run on, see ``resume``.
    """
    order = partial(pausing.pause, using=alias_of(using), actor=actor_of(actor), reason=reason)
    chains.follow(order, id_of(execution))


def resume(
    execution: Target,
    *,
    shift_timers: bool = False,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Let a paused execution go on.

    shift_timers: as if no time had passed: sleeps, time-outs, back-offs and the deadline move by the length of the
    pause. Otherwise what has become due meanwhile is due now.
    """
    order = partial(
        pausing.resume, shift_timers=shift_timers, using=alias_of(using), actor=actor_of(actor), reason=reason
    )
    chains.follow(order, id_of(execution))


def wake_now(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """End a sleep, a back-off or the delay of a start now; have a stuck execution looked at again.

    What waits for a signal or a child waits on: send the signal, or cancel. Refused where no clock is waited for.
    """
    adjusting.wake_now(id_of(execution), using=alias_of(using), actor=actor_of(actor), reason=reason)


def change_deadline(
    execution: Target,
    deadline: datetime | timedelta | None,
    *,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Set the deadline of an execution: an instant, a time from now, or None to lift it."""
    at = to_instant(deadline, "deadline") if isinstance(deadline, datetime) else deadline
    if not isinstance(at, datetime | timedelta | None):
        raise InvalidOptionError(f"deadline={deadline!r}: give a datetime, a timedelta from now, or None.")
    adjusting.change_deadline(id_of(execution), at, using=alias_of(using), actor=actor_of(actor), reason=reason)


def edit_input(
    execution: Target,
    args: tuple[Any, ...] | list[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Change all arguments of an execution that has not begun.

    Raises TypeError for arguments that do not fit the function, CodecError, UnknownWorkflowError.
    """
    adjusting.edit_input(
        id_of(execution), tuple(args), kwargs or {}, using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def reassign(
    execution: Target,
    *,
    queue: str | None = None,
    priority: PriorityName | None = None,
    labels: Mapping[str, str] | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> None:
    """Change the queue, the priority or all labels of an open execution; what is not given stays."""
    if queue is None and priority is None and labels is None:
        raise InvalidOptionError("Give queue=, priority= or labels=; nothing was changed.")
    adjusting.reassign(
        id_of(execution),
        queue=queue,
        priority=None if priority is None else check_priority(priority),
        labels=None if labels is None else check_labels(labels),
        using=alias_of(using),
        actor=actor_of(actor),
        reason=reason,
    )


def force_fail(
    execution: Target, message: str = "", *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """End an execution now as failed, without clean-up; ``result`` raises with that message."""
    forcing.fail(id_of(execution), message, using=alias_of(using), actor=actor_of(actor), reason=reason)


def force_complete(
    execution: Target, result: object = None, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """End an execution now as completed with that result, without running what is left of it.

    Raises CodecError for a result that cannot be stored.
    """
    forcing.complete(id_of(execution), result, using=alias_of(using), actor=actor_of(actor), reason=reason)


def delete(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Delete a closed execution and its history now; it is not archived. Its audit trail stays.

    Refused while somebody reads it: an open parent, the parent of a map, what it was continued as, a receiver of its
    events. Children that outlive it have no parent then.
    """
    deleting.delete(id_of(execution), using=alias_of(using), actor=actor_of(actor), reason=reason)
