"""Turn: when a chore of the tick is next to be done, so that many tickers do not do it many times."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar

from django.db import models

from django_durable.clock import DatabaseNow


class TurnQuerySet(models.QuerySet["Turn"]):
    def due(self, names: Collection[str]) -> list[str]:
        """Which of these are, by the database's clock; also before their first time. One SELECT."""
        later = set(self.filter(name__in=names, next_at__gt=DatabaseNow()).values_list("name", flat=True))
        return [name for name in names if name not in later]

    def take(self, name: str, *, seconds: float) -> bool:
        """Compare-and-set: only one of those who ask finds it due, and it is not due again for so long."""
        self.bulk_create([Turn(name=name, next_at=DatabaseNow())], ignore_conflicts=True)
        return bool(self.filter(name=name, next_at__lte=DatabaseNow()).update(next_at=_in(seconds)))

    def put(self, name: str, *, seconds: float) -> None:
        """By whoever has taken it: it is due again after so long."""
        self.filter(name=name).update(next_at=_in(seconds))


def _in(seconds: float) -> models.Expression:
    return DatabaseNow() + timedelta(seconds=seconds)


class Turn(models.Model):
    """One narrow row for each chore, made when it is first done."""

    name = models.CharField(max_length=40, primary_key=True)
    next_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Turn]] = TurnQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} at {self.next_at}"
