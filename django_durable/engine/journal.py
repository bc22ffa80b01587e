"""The fenced writer of one claim: nothing is recorded but under the lease that was claimed.

Zero rows on a write mean one of two things, and ``renew`` finds out which: the lease is gone (LeaseLostError), or
news has come. Noticing news at every checkpoint costs no statement and makes a cancel take effect at the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from django_durable.conf import get_settings
from django_durable.engine import history, statements, telling
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint, PendingSignal
from django_durable.engine.reconnect import persist
from django_durable.exceptions import LeaseLostError
from django_durable.models import Execution, Signal, Step, Timer


class Journal:
    """Appends and settles checkpoints, and knows what news the execution has."""

    def __init__(
        self,
        claim: Claim,
        *,
        inbox: list[PendingSignal],
        cancel_requested_at: datetime | None,
        paused_at: datetime | None = None,
        deadline_at: datetime | None = None,
        length: int = 0,
    ) -> None:
        """length: of the recorded history."""
        self.claim = claim
        self.inbox = inbox
        self.cancel_requested_at = cancel_requested_at
        self.paused_at = paused_at
        self.deadline_at = deadline_at
        self.deferred: list[Checkpoint] = []
        self.latest: datetime | None = None  # completion so far, where their order counts
        self._length = length
        self.is_told_long = length >= get_settings().history_warning  # by an earlier pass

    @property
    def length(self) -> int:
        """How many checkpoints are recorded."""
        return self._length

    def completion_at(self, now: datetime) -> datetime:
        """When something is completed now: later than all that was before, if their order is to be kept.

        A logical clock beside the physical one: Kulkarni et al., "Logical Physical Clocks" (2014).
        """
        if self.latest is not None:
            now = self.latest = max(now, self.latest + timedelta(microseconds=1))
        return now

    @property
    def next_position(self) -> int:
        return self._length + len(self.deferred)

    def defer(self, checkpoint: Checkpoint) -> None:
        """Record a new checkpoint in the same transaction as whatever is recorded next."""
        self.deferred.append(checkpoint)

    def answer(self, checkpoint: Checkpoint) -> None:
        """Defer the answer to an update, whose request has its id."""
        self.defer(checkpoint)
        self.inbox = [signal for signal in self.inbox if signal.id != checkpoint.id]

    def numbered(self, opens: Sequence[tuple[Checkpoint, bool]]) -> tuple[tuple[Checkpoint, bool], ...]:
        """What a park is to record: the deferred ones first, and each new one at its own position."""
        new = count(self.next_position)
        return (
            *((checkpoint, True) for checkpoint in self.deferred),
            *((replace(each, position=next(new)) if is_new else each, is_new) for each, is_new in opens),
        )

    def append(self, checkpoint: Checkpoint) -> Checkpoint:
        """Record a new checkpoint: one statement, one commit. Raises LeaseLostError."""
        if self.deferred:
            return self.record(checkpoint, self._insert_all)
        recorded = self._durably(checkpoint, lambda: self._insert_one(checkpoint))
        self._length += 1
        return recorded

    def record_in_transaction(self, checkpoint: Checkpoint, *, is_new: bool) -> Checkpoint:
        """Record a checkpoint at the end of the caller's transaction, under the fence.

        The fence comes first of ours: whoever has the lease now locks the timer before those rows, too.
        News does not matter here: it must not undo the caller's work. Raises LeaseLostError, which rolls back.
        """
        if is_new:
            held = self._insert(checkpoint, wake_seq=None)
        else:
            held = bool(self.claim.timers().update(token=self.claim.token))
        if not held:
            raise LeaseLostError
        for earlier in self.deferred:
            insert_checkpoint_of(self.claim, earlier)
        if not is_new:
            update_checkpoint(self.claim, checkpoint)
        telling.recorded(self.claim, checkpoint, is_new=is_new)
        return checkpoint

    def committed(self, *, is_new: bool) -> None:
        """What ``record_in_transaction`` wrote has been committed."""
        self._length += len(self.deferred) + is_new
        self.deferred.clear()

    def settle(self, checkpoint: Checkpoint, *, is_new: bool, consuming: PendingSignal | None = None) -> Checkpoint:
        """Record the new state of an open checkpoint, or a new one together with the signal it consumes."""
        if is_new and consuming is None:
            return self.append(checkpoint)
        settled = self._durably(checkpoint, lambda: self._settle(checkpoint, is_new, consuming))
        self.committed(is_new=is_new)
        if consuming is not None:  # here, not beside the write: a commit without reply is only looked up
            self.inbox = [signal for signal in self.inbox if signal.id != consuming.id]
        return settled

    def record(self, checkpoint: Checkpoint, write: Callable[..., bool]) -> Checkpoint:
        """Record a new checkpoint, and the deferred ones before it, by the caller's own write of all of them.

        False from it: news has come, nothing was written.
        """
        recorded = self._durably(checkpoint, lambda: write(*self.deferred, checkpoint))
        self.committed(is_new=True)
        return recorded

    def publish(self) -> bool:
        """Record now what is deferred, if others are to hear of any of it; False: nothing was written."""
        if all(each.beside is None for each in self.deferred):
            return False
        self._durably(self.deferred[-1], lambda: self._insert_all(*self.deferred))
        self.committed(is_new=False)
        return True

    def renew(self) -> None:
        """Read what has come since. ``wake_seq`` first: what is read after it can only be newer."""
        claim = self.claim
        row = claim.timers().values_list("wake_seq").first()
        if row is None:
            raise LeaseLostError
        claim.wake_seq = row[0]
        answered = {checkpoint.id for checkpoint in self.deferred}
        pending = history.load_inbox(claim.execution_id, using=claim.using)
        self.inbox = [signal for signal in pending if signal.id not in answered]
        executions = Execution.objects.using(claim.using).filter(pk=claim.execution_id)
        orders = executions.values_list("cancel_requested_at", "paused_at", "deadline_at").get()
        self.cancel_requested_at, self.paused_at, self.deadline_at = orders

    def _durably(self, checkpoint: Checkpoint, write: Any) -> Checkpoint:
        def write_under_news() -> Checkpoint:
            while not write():
                self.renew()
            return checkpoint

        def written() -> Checkpoint | None:
            found = history.find(checkpoint.id, using=self.claim.using)
            return found if found == checkpoint else None

        return persist(self.claim.using, write_under_news, written=written)

    def _insert_one(self, checkpoint: Checkpoint) -> bool:
        """One statement, and one for each other thing that is told with it."""
        with transaction.atomic(using=self.claim.using) if telling.writes(self.claim) else nullcontext():
            inserted = self._insert(checkpoint, wake_seq=self.claim.wake_seq)
            if inserted:
                telling.recorded(self.claim, checkpoint)
        return inserted

    def _insert(self, checkpoint: Checkpoint, *, wake_seq: int | None) -> bool:
        claim = self.claim
        try:
            return statements.insert_checkpoint(
                claim.using, claim.execution_id, checkpoint, token=claim.token, wake_seq=wake_seq
            )
        except IntegrityError as error:
            # Another holder recorded this position: the unique keys are the last defence.
            raise LeaseLostError from error

    def _insert_all(self, *checkpoints: Checkpoint) -> bool:
        with transaction.atomic(using=self.claim.using):
            if not fence(self.claim):
                return False
            for checkpoint in checkpoints:
                insert_checkpoint_of(self.claim, checkpoint)
        return True

    def _settle(self, checkpoint: Checkpoint, is_new: bool, consuming: PendingSignal | None) -> bool:
        claim = self.claim
        with transaction.atomic(using=claim.using):
            if not fence(claim):
                return False
            for earlier in self.deferred:
                insert_checkpoint_of(claim, earlier)
            if is_new:
                insert_checkpoint_of(claim, checkpoint)
            else:
                update_checkpoint(claim, checkpoint)
                telling.recorded(claim, checkpoint, is_new=False)
            if consuming is not None:
                consume(claim, consuming.id, checkpoint.name)
        return True


def fence(claim: Claim, *, seen: int | None = None, **changes: Any) -> bool:
    """Lock the timer row until the transaction ends, if the lease holds and no news has come.

    seen: the news that are known; default the claim's.
    """
    known = claim.wake_seq if seen is None else seen
    timers = Timer.objects.using(claim.using).held_by(claim.execution_id, claim.token)
    return bool(timers.filter(wake_seq=known).update(**(changes or {"wake_seq": known})))


def update_checkpoint(claim: Claim, checkpoint: Checkpoint) -> None:
    """Change an open checkpoint. A settled one never changes; finding one here means the lease is not ours."""
    values = history.columns_of(checkpoint)
    changed = Step.objects.using(claim.using).filter(pk=values.pop("id")).unsettled().update(**values)
    if not changed:
        raise LeaseLostError


def insert_checkpoint_of(claim: Claim, checkpoint: Checkpoint) -> None:
    """Insert under a timer row that this transaction has already locked and may have released."""
    Step.objects.using(claim.using).create(execution_id=claim.execution_id, **history.columns_of(checkpoint))
    if checkpoint.beside is not None:
        checkpoint.beside()
    telling.recorded(claim, checkpoint)


def consume(claim: Claim, signal_id: UUID, name: str) -> None:
    """Mark a signal as consumed by the checkpoint of that name, which this transaction records."""
    pending = Signal.objects.using(claim.using).filter(pk=signal_id, consumed_by="")
    if not pending.update(consumed_by=name, consumed_at=claim.now()):
        raise LeaseLostError  # somebody consumed it; nobody may have it twice
