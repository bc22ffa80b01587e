"""LogLine: one line that ``ctx.log`` has said, kept for people who look at the execution."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models

from django_durable.models.execution import Execution
from django_durable.models.identity import new_id

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

LONGEST_MESSAGE = 2000  # characters; the rest is cut off


class LogLineQuerySet(models.QuerySet["LogLine"]):
    def of(self, execution_id: UUID) -> Self:
        """In the order in which they were said."""
        return self.filter(execution_id=execution_id).order_by("number")

    def before(self, time: datetime) -> Self:
        return self.filter(said_at__lt=time)


class LogLine(models.Model):
    """Written with the next checkpoint, so that a replay, which says nothing, has nothing to repeat."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint in the database, as of a step: the lease on the timer guards it.
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, related_name="log_lines", db_index=False, db_constraint=False
    )
    number = models.PositiveIntegerField()  # from 0, of this execution
    level = models.PositiveSmallIntegerField()  # of logging
    message = models.CharField(max_length=LONGEST_MESSAGE)
    attempt = models.PositiveIntegerField(default=1)  # which claim of the execution said it
    said_at = models.DateTimeField()  # the database's clock

    objects: ClassVar[models.Manager[LogLine]] = LogLineQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["execution", "number"], name="durable_log_line_number")]
        indexes = [models.Index(fields=["said_at"], name="durable_log_line_said")]  # for retention

    def __str__(self) -> str:
        return f"{self.number} {self.level_name} {self.message}"

    @property
    def level_name(self) -> str:
        return str(logging.getLevelName(self.level))
