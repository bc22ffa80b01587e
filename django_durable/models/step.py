"""Step: one checkpoint of an execution. All of them in order are its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models

from django_durable.models.execution import Execution
from django_durable.models.identity import new_id

if TYPE_CHECKING:
    from uuid import UUID


class Kind(models.TextChoices):
    """Which primitive recorded it; replay compares it."""

    STEP = "step"
    SLEEP = "sleep"
    WAIT = "wait"
    NOTE = "note"
    EMIT = "emit"
    NOW = "now"
    SWITCH = "switch"  # which branch was chosen
    PARALLEL = "parallel"  # which branches it has
    RACE = "race"  # which branches it has
    WON = "won"  # which of them was the first to end
    CHILD = "child"  # started
    MAP = "map"  # started, one for each item
    JOIN = "join"  # waited for
    PATCH = "patch"  # whether the code after it is the new one, see Context.patched
    TASK = "task"  # of asyncio, begun in an async workflow
    ROLLBACK = "rollback"  # the workflow has ended without success, its steps are being compensated
    COMPENSATION = "compensation"  # undoes one completed step
    BACK = "back"  # somebody has it go back: what lies behind a step is being undone, then it goes on from there
    STATE = "state"  # the code changed the state of the execution
    UPDATE = "update"  # somebody outside changed it, and got a reply
    UNTIL = "until"  # waited for a condition over the state
    LOOP = "loop"  # whether it goes round once more
    LONG = "long"  # the workflow was told that its history has become long
    CONTINUE = "continue"  # goes on as another execution
    TOKEN = "token"  # noqa: S105 - no password


class StepStatus(models.TextChoices):
    STARTED = "started"  # at-most-once step: begun, outcome unknown
    RETRYING = "retrying"  # an attempt failed, another is due
    WAITING = "waiting"  # a sleep or a wait that has not ended
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"  # cancellation was delivered at this call
    TIMED_OUT = "timed_out"  # the execution's deadline was delivered at this call
    SKIPPED = "skipped"  # an operator went on without it


SETTLED = frozenset(
    {StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.TIMED_OUT, StepStatus.SKIPPED}
)


class StepQuerySet(models.QuerySet["Step"]):
    def history(self, execution_id: UUID) -> Self:
        """In the order in which a replay meets them."""
        return self.filter(execution_id=execution_id).order_by("position")

    def unsettled(self) -> Self:
        return self.exclude(status__in=SETTLED)

    def given_up(self) -> Self:
        """The compensation that waits for a person: its attempts are used, and none is due."""
        return self.filter(kind=Kind.COMPENSATION, status=StepStatus.RETRYING, due_at__isnull=True)


class Step(models.Model):
    """One recorded outcome. A settled row never changes again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint in the database: the insert reads the timer, whose own foreign key names the same execution. The
    # check would lock the execution's row once more for every step.
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, related_name="steps", db_index=False, db_constraint=False
    )
    position = models.PositiveIntegerField()  # from 0, without gaps
    name = models.CharField(max_length=255)  # step id; repeats number themselves: charge, charge#2
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    target = models.CharField(max_length=255, blank=True)  # function name, signal name: for people
    result = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)  # end of a sleep or a token, time-out of a wait, next attempt

    objects: ClassVar[models.Manager[Step]] = StepQuerySet.as_manager()

    class Meta:
        constraints = [
            # The last defence against two writers. Names are unique too, since the matcher numbers repeats.
            models.UniqueConstraint(fields=["execution", "position"], name="durable_step_position"),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(SETTLED), finished_at__isnull=False)
                | (~models.Q(status__in=sorted(SETTLED)) & models.Q(finished_at__isnull=True)),
                name="durable_step_finished_iff_settled",
            ),
            models.CheckConstraint(condition=models.Q(status__in=sorted(StepStatus)), name="durable_step_status"),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.kind} {self.name}"
