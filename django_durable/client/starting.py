"""Starting executions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django_durable.client.reading import refuse_transaction, result
from django_durable.client.targets import alias_of
from django_durable.definitions import PreparedStart, Started, WorkflowDefinition, bind_starter, registry
from django_durable.engine import batches, starting
from django_durable.engine.batches import StartOutcome
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution
from django_durable.options import NO_OPTIONS, StartOptions, begin_later


def get_workflow(name: str, version: int | None = None) -> WorkflowDefinition[..., Any]:
    """A registered workflow, for starting it by name: ``get_workflow("orders.fulfil").using(key=...).start(...)``.

    version: default the newest. Raises UnknownWorkflowError.
    """
    return registry.find(name, version)


def start(workflow: str | WorkflowDefinition[..., Any], *args: Any, **kwargs: Any) -> Execution:
    """Start an execution by its registered name or definition; see ``WorkflowDefinition.start``.

    Options, such as a key, go through ``get_workflow(name).using(...)``.
    Raises UnknownWorkflowError, TypeError for wrong arguments, CodecError. Transaction: the caller's, or its own;
    one statement on PostgreSQL, two elsewhere.
    """
    definition = get_workflow(workflow) if isinstance(workflow, str) else workflow
    return starting.start(definition, NO_OPTIONS, args, kwargs)[0]


def start_and_wait(workflow: str | WorkflowDefinition[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``start`` and ``result`` in one; refused inside a transaction before anything is written."""
    refuse_transaction(None)
    return result(start(workflow, *args, **kwargs))


def schedule(
    workflow: str | WorkflowDefinition[..., Any] | PreparedStart,
    *args: Any,
    at: datetime | None = None,
    delay: timedelta | float | None = None,
    **kwargs: Any,
) -> Execution:
    """Start an execution that begins at a time, once. It is there at once: to be found, woken and cancelled.

    workflow: also ``workflow.using(key=...).prepare(*args)``, which has its arguments; so it is given for a workflow
    whose own arguments are called ``at`` or ``delay``. Give at or delay; a time that is past is now.
    Raises as ``start``, InvalidOptionError. Transaction: the caller's, or its own; as ``start``.
    """
    if isinstance(workflow, PreparedStart):
        if args or kwargs:
            raise InvalidOptionError("schedule(prepared, ...): it has its arguments; give them to prepare(...) only.")
        definition, options, args, kwargs = workflow.definition, workflow.options, workflow.args, workflow.kwargs
    else:
        definition, options = get_workflow(workflow) if isinstance(workflow, str) else workflow, NO_OPTIONS
    return starting.start(definition, begin_later(options, delay, at), args, kwargs)[0]


def start_many(
    starts: Iterable[PreparedStart], *, skip_errors: bool = False, using: str | None = None
) -> list[StartOutcome]:
    """Make many starts in one transaction, with one hint for each queue; what each has come to, in order.

    starts: ``workflow.prepare(*args)`` or ``workflow.using(...).prepare(*args)``, of any workflows. All are checked
    before anything is written. skip_errors: start the good ones even if others are bad, which then have ``error``.
    Raises BatchRefusedError with the reason for each bad one; nothing is written then.
    Transaction: the caller's, or its own; two statements for every 500 without keys.
    """
    return batches.start_many(list(starts), skip_errors=skip_errors, using=alias_of(using))


class _Door:
    """What definitions may ask of the client."""

    def start(
        self,
        definition: WorkflowDefinition[..., Any],
        options: StartOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Started:
        return starting.start(definition, options, args, kwargs)[0]

    def wait(self, started: Started, *, timeout_seconds: float | None, using: str | None) -> Any:
        return result(started, timeout=timeout_seconds, using=using)

    def refuse_transaction(self, using: str | None) -> None:
        refuse_transaction(using)


bind_starter(_Door())
