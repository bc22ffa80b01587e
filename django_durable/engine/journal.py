"""The fenced writer of one claim: nothing is recorded but under the lease that was claimed.

Zero rows on a write mean one of two things, and ``renew`` finds out which: the lease is gone (LeaseLostError), or
news has come. Noticing news at every checkpoint costs no statement and makes a cancel take effect at the next call.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from django_durable.engine import history, statements
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint, PendingSignal
from django_durable.engine.reconnect import persist
from django_durable.exceptions import LeaseLostError
from django_durable.models import Execution, Signal, Step, Timer


class Journal:
    """Appends and settles checkpoints, and knows what news the execution has."""

    def __init__(self, claim: Claim, *, inbox: list[PendingSignal], cancel_requested_at: datetime | None) -> None:
        self.claim = claim
        self.inbox = inbox
        self.cancel_requested_at = cancel_requested_at

    def append(self, checkpoint: Checkpoint) -> Checkpoint:
        """Record a new checkpoint: one statement, one commit. Raises LeaseLostError."""
        return self._durably(checkpoint, lambda: self._insert(checkpoint, wake_seq=self.claim.wake_seq))

    def record_in_transaction(self, checkpoint: Checkpoint, *, is_new: bool) -> Checkpoint:
        """Record a checkpoint as the last statement of the caller's transaction, under the fence.

        News does not matter here: it must not undo the caller's work. Raises LeaseLostError, which rolls back.
        """
        if not is_new:
            update_checkpoint(self.claim, checkpoint)
            held = bool(self.claim.timers().update(token=self.claim.token))
        else:
            held = self._insert(checkpoint, wake_seq=None)
        if not held:
            raise LeaseLostError
        return checkpoint

    def settle(self, checkpoint: Checkpoint, *, is_new: bool, consuming: PendingSignal | None = None) -> Checkpoint:
        """Record the new state of an open checkpoint, or a new one together with the signal it consumes."""
        if is_new and consuming is None:
            return self.append(checkpoint)
        settled = self._durably(checkpoint, lambda: self._settle(checkpoint, is_new, consuming))
        if consuming is not None:  # here, not beside the write: a commit without reply is only looked up
            self.inbox = [signal for signal in self.inbox if signal.id != consuming.id]
        return settled

    def record(self, checkpoint: Checkpoint, write: Callable[[], bool]) -> Checkpoint:
        """Record a new checkpoint by the caller's own write; False from it: news has come, nothing was written."""
        return self._durably(checkpoint, write)

    def renew(self) -> None:
        """Read what has come since. ``wake_seq`` first: what is read after it can only be newer."""
        claim = self.claim
        row = claim.timers().values_list("wake_seq").first()
        if row is None:
            raise LeaseLostError
        claim.wake_seq = row[0]
        self.inbox = history.load_inbox(claim.execution_id, using=claim.using)
        self.cancel_requested_at = (
            Execution.objects.using(claim.using)
            .values_list("cancel_requested_at", flat=True)
            .get(pk=claim.execution_id)
        )

    def _durably(self, checkpoint: Checkpoint, write: Any) -> Checkpoint:
        def write_under_news() -> Checkpoint:
            while not write():
                self.renew()
            return checkpoint

        def written() -> Checkpoint | None:
            found = history.find(checkpoint.id, using=self.claim.using)
            return found if found == checkpoint else None

        return persist(self.claim.using, write_under_news, written=written)

    def _insert(self, checkpoint: Checkpoint, *, wake_seq: int | None) -> bool:
        claim = self.claim
        try:
            return statements.insert_checkpoint(
                claim.using, claim.execution_id, checkpoint, token=claim.token, wake_seq=wake_seq
            )
        except IntegrityError as error:
            # Another holder recorded this position: the unique keys are the last defence.
            raise LeaseLostError from error

    def _settle(self, checkpoint: Checkpoint, is_new: bool, consuming: PendingSignal | None) -> bool:
        claim = self.claim
        with transaction.atomic(using=claim.using):
            if not fence(claim):
                return False
            if is_new:
                insert_checkpoint_of(claim, checkpoint)
            else:
                update_checkpoint(claim, checkpoint)
            if consuming is not None:
                pending = Signal.objects.using(claim.using).filter(pk=consuming.id, consumed_by="")
                if not pending.update(consumed_by=checkpoint.name, consumed_at=claim.now()):
                    raise LeaseLostError  # somebody consumed it; no wait may have it twice
        return True


def fence(claim: Claim, **changes: Any) -> bool:
    """Lock the timer row until the transaction ends, if the lease holds and no news has come."""
    timers = Timer.objects.using(claim.using).held_by(claim.execution_id, claim.token)
    return bool(timers.filter(wake_seq=claim.wake_seq).update(**(changes or {"wake_seq": claim.wake_seq})))


def update_checkpoint(claim: Claim, checkpoint: Checkpoint) -> None:
    """Change an open checkpoint. A settled one never changes; finding one here means the lease is not ours."""
    values = history.columns_of(checkpoint)
    changed = Step.objects.using(claim.using).filter(pk=values.pop("id")).unsettled().update(**values)
    if not changed:
        raise LeaseLostError


def insert_checkpoint_of(claim: Claim, checkpoint: Checkpoint) -> None:
    """Insert under a timer row that this transaction has already locked and may have released."""
    Step.objects.using(claim.using).create(execution_id=claim.execution_id, **history.columns_of(checkpoint))
