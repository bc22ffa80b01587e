"""The witness of the fence: what atomic steps wrote, and whether they had the right to."""

from django.db import models


class LateRow(models.Model):
    """rightful: the lease was this process's when the body wrote; a row that was not must never be committed."""

    execution_id = models.UUIDField(db_index=True)
    step = models.CharField(max_length=255)
    rightful = models.BooleanField()

    def __str__(self) -> str:
        return f"{self.execution_id} {self.step}"
