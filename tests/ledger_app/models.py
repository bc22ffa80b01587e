"""The witness inside the database: what atomic steps wrote."""

from django.db import models


class LedgerRow(models.Model):
    """One effect of an atomic step. No unique key on purpose: a doubled effect must be able to show."""

    execution_id = models.UUIDField(db_index=True)
    step = models.CharField(max_length=255)
    attempt = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.execution_id} {self.step}"
