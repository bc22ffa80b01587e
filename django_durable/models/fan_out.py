"""FanOut: how many children of one map over a workflow have not ended yet."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class FanOut(models.Model):
    """One narrow row that some children of a map count down; there while any of them is open, like a timer.

    A map has a few of these, so that children that end at one time seldom wait for each other. No foreign key: it has
    to outlive a parent that is deleted before children that it left to themselves.
    """

    id = models.UUIDField(primary_key=True, editable=False)  # of the map's first child, plus a number from 0
    remaining = models.PositiveIntegerField()  # children that have not ended
    fails_fast = models.BooleanField()  # the first of them that does not succeed is news to the parent
    failed = models.UUIDField(null=True)  # that child
    last = models.UUIDField(null=True)  # of a map with a limit: its last child; who ends lets the next one begin

    objects: ClassVar[models.Manager[FanOut]] = models.Manager()

    class Meta:
        verbose_name = "fan-out"

    def __str__(self) -> str:
        return f"{self.id} {self.remaining} remaining"
