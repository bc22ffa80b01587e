"""Children: executions that an execution starts, waits for and takes along when it ends.

A child begins in the transaction of its parent's checkpoint. Whatever ends a child bumps its parent's timer in the
child's own last transaction, so nobody polls: a parent that parks at the same time loses its compare-and-set and looks
again. Locks are taken from the parent to the child, on both ways.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable import dispatch
from django_durable.definitions import NO_OPTIONS, BoundWorkflow, WorkflowDefinition
from django_durable.engine import inbox, payloads, starting
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of
from django_durable.engine.matching import Call, Matcher
from django_durable.engine.outcomes import Park
from django_durable.exceptions import (
    ChildFailed,
    ChildNotEndedError,
    ExecutionConflict,
    InvalidOptionError,
)
from django_durable.models import CLOSED, Execution, Kind, OnParentClose, Status, StepStatus, Timer
from django_durable.parts import Child

DEEPEST = 50  # a child that starts itself for ever is refused there


# -- starting ------------------------------------------------------------------------------------------


def start(
    matcher: Matcher, step_id: str | None, workflow: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Child:
    """Start a child in one transaction with the checkpoint that says so; a replay gives the same one."""
    if isinstance(workflow, WorkflowDefinition):
        workflow = BoundWorkflow(workflow, NO_OPTIONS)
    if not isinstance(workflow, BoundWorkflow):
        raise InvalidOptionError(f"ctx.start_child({workflow!r}): give a workflow, or workflow.using(...).")
    name = step_id or f"child:{workflow.definition.name}"
    call = matcher.enter(Kind.CHILD, name, target=workflow.definition.name)
    if call.recorded is None:
        matcher.before_new_work()
        birth = _Birth(matcher.claim, workflow, args, kwargs)
        now = matcher.claim.now()
        checkpoint = call.checkpoint(result=payloads.dump(birth.execution_id), finished_at=now)
        matcher.record(call, checkpoint, birth.write)
        matcher.shared.has_children = True
    assert call.recorded is not None
    return Child(matcher.stored(payloads.load, call.recorded.result), call.name)


class _Birth:
    """A child that is to be started: checked, given its id, not yet written."""

    def __init__(
        self, claim: Claim, workflow: BoundWorkflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._claim = claim
        self._start = starting.prepare(workflow.definition, workflow.options, args, kwargs)
        parent = Execution.objects.using(claim.using).values_list("depth", flat=True).get(pk=claim.execution_id)
        if parent >= DEEPEST:
            raise InvalidOptionError(
                f"This is child number {parent} of a chain of parents; the limit is {DEEPEST}. Does a workflow start "
                "itself for ever?"
            )
        self._start.execution.parent_id = claim.execution_id
        self._start.execution.depth = parent + 1
        self._start.execution.on_parent_close = workflow.options.on_parent_close

    @property
    def execution_id(self) -> UUID:
        return self._start.execution.id

    def write(self, *checkpoints: Checkpoint) -> bool:
        with transaction.atomic(using=self._claim.using):
            if not fence(self._claim):
                return False
            execution = self._start.execution
            if not self._start.insert(using=self._claim.using):
                raise ExecutionConflict(
                    f"The key {execution.key!r} of {execution.workflow!r} is taken; a child needs a key of its own."
                )
            for checkpoint in checkpoints:
                insert_checkpoint_of(self._claim, checkpoint)
        return True


# -- waiting -------------------------------------------------------------------------------------------


def wait(matcher: Matcher, child: Child, timeout_seconds: float | None) -> Any:
    """The child's result. Raises ChildFailed for any other end, ChildNotEndedError when the time is up.

    The status of a child that did not succeed is recorded as the result of the wait; none was there when time was up.
    """
    name = child.name.replace("/", ">")
    call = matcher.enter(Kind.JOIN, f"join:{name}", target=str(child.id))
    if call.recorded is None or not call.recorded.is_settled:
        _look(matcher, call, child, timeout_seconds)
    assert call.recorded is not None
    if call.recorded.status == StepStatus.COMPLETED:
        return matcher.stored(payloads.load, call.recorded.result)
    if call.recorded.result is None:
        raise ChildNotEndedError(child.id)
    status = matcher.stored(payloads.load, call.recorded.result)
    if call.recorded.error is None:
        raise ChildFailed(child.id, status)
    error = matcher.stored(payloads.load_error, call.recorded.error)
    raise ChildFailed(child.id, status, error.type_name, error.message, error.traceback_text or "")


def _look(matcher: Matcher, call: Call, child: Child, timeout_seconds: float | None) -> None:
    """Settle the wait if the child has ended or the time is up, else park."""
    columns = ("status", "result", "error")
    row = Execution.objects.using(matcher.claim.using).filter(pk=child.id).values_list(*columns).first()
    until = inbox.until(call, timeout_seconds)
    now = matcher.claim.now()
    if row is None or row[0] in CLOSED:
        matcher.settle(call, call.checkpoint(finished_at=now, due_at=until, **_end(row)))
    elif until is not None and until <= now:
        matcher.settle(call, call.checkpoint(finished_at=now, due_at=until, status=StepStatus.FAILED))
    else:
        opened = call.checkpoint(status=StepStatus.WAITING, due_at=until)
        raise matcher.park(call, opened, status=Status.WAITING, until=until, waiting_for=f"child {child.id}")


def _end(row: tuple[Any, ...] | None) -> dict[str, Any]:
    """What is kept of the child's end; one whose row is gone has ended too."""
    status, result, error = row or ("deleted", None, None)
    if status == Status.COMPLETED:
        return {"status": StepStatus.COMPLETED, "result": result}
    return {"status": StepStatus.FAILED, "result": payloads.dump(str(status)), "error": error}


# -- the end of one, seen by the other -----------------------------------------------------------------


def wake_parent(parent_id: UUID | None, *, using: str) -> None:
    """Bring the news of a child's end to its parent; in that transaction, before the child's own rows are locked."""
    if parent_id is None:
        return
    parents = Timer.objects.using(using).filter(pk=parent_id)
    if parents.bump():
        dispatch.wake(parent_id, queue=parents.values_list("queue", flat=True).get(), using=using)


def left_open(execution_id: UUID, *policies: OnParentClose, using: str) -> list[UUID]:
    """The children with one of these policies that have not ended."""
    children = Execution.objects.using(using).filter(parent_id=execution_id, on_parent_close__in=policies)
    return list(children.open().order_by("pk").values_list("pk", flat=True))


def must_wait(matcher: Matcher) -> Park | None:
    """The park of an execution that has ended but for the children it waits for."""
    claim = matcher.claim
    open_ones = left_open(claim.execution_id, OnParentClose.WAIT, using=claim.using)
    if not open_ones:
        return None
    about = f"{len(open_ones)} children to end"
    return Park(opens=(), until=None, status=Status.WAITING, waiting_for=about, wake_seq=claim.wake_seq)
