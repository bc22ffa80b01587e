"""Orders to executions, and help for what has given up."""

from __future__ import annotations

from uuid import UUID

from django_durable.client.targets import Target, actor_of, alias_of, id_of
from django_durable.engine import deliveries, forcing, payloads, repairs, transitions
from django_durable.models import Delivery, StepStatus


def cancel(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Ask an execution to stop at its next durable call; a running step is not interrupted.

    The workflow sees ``Cancelled`` there and may clean up. Asking again keeps the first reason.
    Raises ExecutionNotFoundError, ExecutionClosedError. Transaction: the caller's.
    """
    transitions.request_cancel(id_of(execution), using=alias_of(using), actor=actor_of(actor), reason=reason)


def terminate(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """End an execution now, without clean-up. What a worker still does on it is not recorded.

    Raises ExecutionNotFoundError, ExecutionClosedError. Transaction: the caller's.
    """
    forcing.terminate(id_of(execution), using=alias_of(using), actor=actor_of(actor), reason=reason)


def retry_compensation(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Try the compensation in which an execution is stuck once more; it goes on by itself if that succeeds.

    Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError. Transaction: the caller's.
    """
    repairs.retry_compensation(id_of(execution), using=alias_of(using), actor=actor_of(actor), reason=reason)


def skip_compensation(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Go on without the compensation in which an execution is stuck; it will end as ``compensation_failed``.

    Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError. Transaction: the caller's.
    """
    repairs.settle_compensation(
        id_of(execution), StepStatus.SKIPPED, None, using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def resolve_compensation(
    execution: Target, result: object = None, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Record that the compensation in which an execution is stuck was done by hand; it goes on as if it had succeeded.

    result: for the history. Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError, CodecError.
    Transaction: the caller's.
    """
    text = payloads.dump(result)
    repairs.settle_compensation(
        id_of(execution), StepStatus.COMPLETED, text, using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def retry_delivery(
    delivery: Delivery | UUID | str, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Deliver an event that a receiver has failed to take, or will be offered later, now; all attempts begin anew.

    Raises DeliveryConflict if it is delivered, being tried at this moment, or gone. Transaction: the caller's.
    """
    deliveries.retry(id_of(delivery), using=alias_of(using), actor=actor_of(actor), reason=reason)
