"""Children: executions that an execution starts, waits for and takes along when it ends.

A child begins in the transaction of its parent's checkpoint. Whatever ends a child bumps its parent's timer in the
child's own last transaction, so nobody polls: a parent that parks at the same time loses its compare-and-set and looks
again. Locks are taken from the parent to the child, on both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F

from django_durable import codec, dispatch
from django_durable.codec import RecordedError
from django_durable.definitions import BoundWorkflow, WorkflowDefinition
from django_durable.engine import countdown, endings, inbox, payloads, starting
from django_durable.engine.countdown import Turn
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of
from django_durable.engine.matching import Matcher
from django_durable.engine.new_start import NewStart
from django_durable.engine.outcomes import Park
from django_durable.engine.recorder import Call
from django_durable.exceptions import (
    ChildFailed,
    ChildNotEndedError,
    CodecError,
    ExecutionConflict,
    InvalidOptionError,
)
from django_durable.models import CLOSED, Execution, Kind, OnParentClose, Status, Step, StepStatus, Timer
from django_durable.models.execution import ExecutionQuerySet
from django_durable.models.timer import TimerQuerySet
from django_durable.options import NO_OPTIONS
from django_durable.parts import Child

PAGE = 500  # children whose rows are written or read together
DEEPEST = 50  # a child that starts itself for ever is refused there
_REFUSALS = (TypeError, CodecError, InvalidOptionError, ExecutionConflict)


# -- starting ------------------------------------------------------------------------------------------


def start(
    matcher: Matcher, step_id: str | None, workflow: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Child:
    """Start a child in one transaction with the checkpoint that says so; a replay gives the same one."""
    workflow = bound("start_child", workflow)
    name = step_id or f"child:{workflow.definition.name}"
    call = matcher.enter(Kind.CHILD, name, target=workflow.definition.name)
    return Child(begun(matcher, call, partial(_begin, matcher, call, workflow, args, kwargs)), call.name)


def begun(matcher: Matcher, call: Call, begin: Callable[[], None]) -> Any:
    """What is recorded of a start; ``begin`` makes it where that is nothing.

    That it was refused is recorded too: the workflow may catch the error and go on, and its replays must.
    """
    if call.recorded is None:
        matcher.before_new_work()
        try:
            begin()
        except _REFUSALS as error:
            text = endings.error_text(error)
            matcher.defer(call, call.checkpoint(status=StepStatus.FAILED, error=text, finished_at=matcher.claim.now()))
    assert call.recorded is not None
    if call.recorded.status == StepStatus.FAILED:
        refused = matcher.stored(payloads.load_error, call.recorded.error)
        raise codec.rebuild_error(refused, _REFUSALS) or InvalidOptionError(refused.message)
    return matcher.stored(payloads.load, call.recorded.result)


def _begin(
    matcher: Matcher, call: Call, workflow: BoundWorkflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    birth = _Birth(matcher, workflow, args, kwargs)
    checkpoint = call.checkpoint(result=payloads.dump(birth.execution_id), finished_at=matcher.claim.now())
    matcher.record(call, checkpoint, birth.write)
    matcher.shared.begin(birth.execution_id)


def bound(call: str, workflow: object) -> BoundWorkflow[..., Any]:
    if isinstance(workflow, WorkflowDefinition):
        return BoundWorkflow(workflow, NO_OPTIONS)
    if not isinstance(workflow, BoundWorkflow):
        raise InvalidOptionError(f"ctx.{call}({workflow!r}): give a workflow, or workflow.using(...).")
    return workflow


def prepare(
    matcher: Matcher, workflow: BoundWorkflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> NewStart:
    """The start of a child, checked and not yet written; refused where the chain of parents is too long."""
    parents = matcher.shared.depth
    if parents >= DEEPEST:
        raise InvalidOptionError(
            f"This is child number {parents} of a chain of parents; the limit is {DEEPEST}. Does a workflow start "
            "itself for ever?"
        )
    if workflow.options.coalesce is not None:
        raise InvalidOptionError("A child is its parent's own: leave out coalesce=, or start it in a step.")
    new = starting.prepare(workflow.definition, workflow.options, args, kwargs)
    new.execution.parent_id = matcher.execution_id
    new.execution.depth = parents + 1
    new.execution.on_parent_close = workflow.options.on_parent_close
    return new


class _Birth:
    """A child that is to be started: checked, given its id, not yet written."""

    def __init__(
        self, matcher: Matcher, workflow: BoundWorkflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._claim = matcher.claim
        self._start = prepare(matcher, workflow, args, kwargs)

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
    error = matcher.stored(payloads.load_error, call.recorded.error) if call.recorded.error is not None else None
    raise failure(child.id, status, error)


def failure(child_id: UUID, status: str, error: RecordedError | None) -> ChildFailed:
    """How a child ended that has no result, as its parent is told."""
    if error is None:
        return ChildFailed(child_id, status)
    return ChildFailed(child_id, status, error.type_name, error.message, error.traceback_text or "")


def _look(matcher: Matcher, call: Call, child: Child, timeout_seconds: float | None) -> None:
    """Settle the wait if the child has ended or the time is up, else park."""
    row = _row_of(matcher, child.id)
    until = inbox.until(call, timeout_seconds)
    now = matcher.claim.now()
    if row is None or row[0] in CLOSED:
        matcher.settle(call, call.checkpoint(finished_at=now, due_at=until, **_end(row)))
    elif until is not None and until <= now:
        matcher.settle(call, call.checkpoint(finished_at=now, due_at=until, status=StepStatus.FAILED))
    else:
        opened = call.checkpoint(status=StepStatus.WAITING, due_at=until)
        raise matcher.park(call, opened, status=Status.WAITING, until=until, waiting_for=f"child {child.id}")


def _row_of(matcher: Matcher, child_id: UUID) -> tuple[Any, ...] | None:
    """Status, result and error, as of the news that are known; in one SELECT those of all children awaited so far.

    What ends later brings news, and with that the pass looks again before it parks.
    """
    shared, using = matcher.shared, matcher.claim.using
    if shared.has_just_begun(child_id):
        return (Status.PENDING, None, None)
    if shared.seen_at != matcher.claim.wake_seq:
        shared.seen_at, shared.seen = matcher.claim.wake_seq, {}
        wanted = {child_id, *shared.awaited()}
    else:
        wanted = {child_id} - shared.seen.keys()
    if wanted:
        with matcher.reading():
            shared.seen |= dict.fromkeys(wanted) | _rows(wanted, using)
    return shared.seen[child_id]


def _rows(child_ids: Collection[UUID], using: str) -> dict[UUID, tuple[Any, ...] | None]:
    """Status, result and error by id; of one that was continued, those of the last it was continued as.

    Once one is continued it stays so, and the one at the end of its chain wakes the same parent.
    """
    columns = ("status", "result", "error")
    executions = Execution.objects.using(using)
    found: dict[UUID, tuple[Any, ...] | None] = {}
    for pk, chain, *row in executions.filter(pk__in=child_ids).values_list("pk", "chain", *columns):
        is_continued = row[0] == Status.CONTINUED
        found[pk] = executions.last_of(chain).values_list(*columns).first() if is_continued else tuple(row)
    return found


def _end(row: tuple[Any, ...] | None) -> dict[str, Any]:
    """What is kept of the child's end; one whose row is gone has ended too."""
    status, result, error = row or ("deleted", None, None)
    if status == Status.COMPLETED:
        return {"status": StepStatus.COMPLETED, "result": payloads.copied(result)}
    copied = None if error is None else payloads.copied(error)
    return {"status": StepStatus.FAILED, "result": payloads.dump(str(status)), "error": copied}


# -- the end of one, seen by the other -----------------------------------------------------------------


def tell_parent(child: Execution, *, has_failed: bool, using: str) -> Turn | None:
    """Bring the news of a child's end to its parent; in that transaction, before the child's own rows are locked.

    A child of a map is counted, and wakes its parent only when that has something to do; what it leads to is returned.
    """
    turn = None
    if child.fan_out is not None:
        turn = countdown.count(child.fan_out, child.pk, has_failed=has_failed, using=using)
    if child.parent_id is not None and (turn is None or turn.is_news):
        _wake(child, child.parent_id, using=using)
    return turn


def _wake(child: Execution, parent_id: UUID, *, using: str) -> None:
    """Let the parent look, if it waits for this one; else let it know when it next parks, and make no pass for that.

    What it waits for is read once its row is locked: a park is then either to be seen, or will find the news.
    """
    parents = Timer.objects.using(using).filter(pk=parent_id)
    if not parents.update(wake_seq=F("wake_seq") + 1):
        return
    joins = Step.objects.using(using).unsettled().filter(execution_id=parent_id, kind=Kind.JOIN)
    wait = joins if child.fan_out is not None else joins.filter(target__in=[str(child.pk), str(child.chain)])
    queue, is_awaited = parents.annotate(is_awaited=Exists(wait)).values_list("queue", "is_awaited").get()
    if is_awaited or child.on_parent_close == OnParentClose.WAIT:
        parents.update(due_at=TimerQuerySet.due_with_news())
        dispatch.wake(parent_id, queue=queue, using=using)


def lock_parent(parent_id: UUID | None, *, using: str) -> None:
    """Keep the order of locks, from the parent to the child, where there is no news for the parent."""
    if parent_id is not None:
        list(Timer.objects.using(using).filter(pk=parent_id).select_for_update().values_list("pk"))


def left_open(execution_id: UUID, *policies: OnParentClose, using: str) -> ExecutionQuerySet:
    """The children with one of these policies that have not ended."""
    children = Execution.objects.using(using).filter(parent_id=execution_id, on_parent_close__in=policies)
    return children.open()


def pages(executions: ExecutionQuerySet) -> Iterator[list[UUID]]:
    """Their ids in order, so many at a time as fit a statement."""
    ids = executions.order_by("pk").values_list("pk", flat=True)
    page = list(ids[:PAGE])
    while page:
        yield page
        page = list(ids.filter(pk__gt=page[-1])[:PAGE]) if len(page) == PAGE else []


def must_wait(matcher: Matcher) -> Park | None:
    """The park of an execution that has ended but for the children it waits for."""
    claim = matcher.claim
    left = left_open(claim.execution_id, OnParentClose.WAIT, using=claim.using).count()
    if not left:
        return None
    about = f"{left} children to end"
    return Park(opens=(), until=None, status=Status.WAITING, waiting_for=about, wake_seq=claim.wake_seq)
