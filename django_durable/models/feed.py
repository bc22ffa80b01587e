"""The feed: what gives entries of several tables one order that a reader can resume from."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models

from django_durable.models.sparse import SparseIndex, SparseUnique


class FedQuerySet(models.QuerySet[Any]):
    def unnumbered(self) -> Self:
        """Those without a position, in the order in which they will get one."""
        # The NULL first: so that the order is that of the index, on every database.
        return self.filter(position__isnull=True).order_by("position", "created_at", "id")


class Fed(models.Model):
    """A row of the feed: written without a position, which it gets once it is committed.

    Numbers given out before the commit would let a reader pass over a row that commits later.
    """

    position = models.BigIntegerField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True
        constraints = [SparseUnique(fields=["position"], name="durable_%(class)s_position")]
        indexes = [
            SparseIndex(
                fields=["position", "created_at", "id"],
                name="durable_%(class)s_unfed",
                kept=models.Q(position__isnull=True),
            )
        ]


class FeedHead(models.Model):
    """The last position that was given out: one row, whose lock lets one number at a time."""

    ONLY: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    position = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.position)
