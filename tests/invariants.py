"""One checker for the promises, used after every test that crashes or races the engine.

Two witnesses that do not trust each other: the engine's tables, and the ledger (``tests.ledger_app``). The numbers
are those of the invariants in ``tests/crash/__init__.py``. Call it when the work is done or rests, not in the middle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django_durable.clock import DatabaseNow
from django_durable.engine import holders, payloads
from django_durable.events import receivers
from django_durable.models import (
    CLOSED,
    SETTLED,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Execution,
    Kind,
    OutboxEvent,
    Signal,
    Status,
    Step,
    StepStatus,
    Timer,
)
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow
from tests.ledger_app.programs import WITNESSED

AT_ONCE = 500  # executions whose rows are read together
GRACE = timedelta(seconds=2)  # how long something may be due before somebody must have taken it


def check(using: str, ledger: Ledger, *, only: Collection[UUID] | None = None) -> list[str]:
    """Name every violated invariant; an empty list is what a test asserts. only: these executions and their lines."""
    found = [f"I1 {text}" for text in _starts(using, ledger)]
    for case in _cases(using, ledger, only):
        about = f"{case.execution.workflow} {case.execution.id}"
        for number, invariant in _INVARIANTS:
            found += [f"{number} {about}: {text}" for text in invariant(case)]
    return found


def ordinary_runs(using: str, ledger: Ledger) -> Iterator[tuple[int, int]]:
    """How often each ordinary body ran, and how many attempts are recorded of it."""
    for case in _cases(using, ledger, None):
        attempts = {step.name: step.attempts for step in _witnessed(case)}
        for name, runs in Counter(line["step"] for line in case.effects).items():
            yield runs, attempts.get(name, 0)


def _cases(using: str, ledger: Ledger, only: Collection[UUID] | None) -> Iterator[_Case]:
    told = _Told(ledger)
    executions = Execution.objects.using(using)
    ids = list(executions.values_list("pk", flat=True) if only is None else only)
    for at in range(0, len(ids), AT_ONCE):
        yield from _Case.load(using, list(executions.filter(pk__in=ids[at : at + AT_ONCE])), told)


class _Told:
    """The ledger, read once and grouped."""

    def __init__(self, ledger: Ledger) -> None:
        self.effects = _grouped(ledger.lines("effect"))
        self.seen = _grouped(ledger.lines("seen"))
        self.sent = _grouped(ledger.lines("sent"))
        self.received = _grouped(ledger.lines("received"))
        self.interruptions = ledger.interruptions()


def _grouped(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for line in lines:
        groups[line["execution"]].append(line)
    return groups


@dataclass
class _Case:
    """Everything both witnesses say about one execution."""

    execution: Execution
    now: datetime
    timer: Timer | None
    steps: list[Step]
    signals: list[Signal]
    audit: list[str]
    rows: Counter[str]
    effects: list[dict[str, Any]]
    seen: list[dict[str, Any]]
    sent: list[dict[str, Any]]
    interruptions: int
    events: list[OutboxEvent]
    deliveries: list[Delivery]
    received: list[dict[str, Any]]

    @classmethod
    def load(cls, using: str, executions: list[Execution], told: _Told) -> Iterator[_Case]:
        """One case for each, in a handful of queries for all."""
        ids = [execution.pk for execution in executions]
        now = Execution.objects.using(using).filter(pk__in=ids).values_list(DatabaseNow(), flat=True).first()
        timers = Timer.objects.using(using).in_bulk(ids)
        steps = _by_execution(Step.objects.using(using).filter(execution_id__in=ids).order_by("position"))
        signals = _by_execution(Signal.objects.using(using).filter(execution_id__in=ids).order_by("seq"))
        audit = _by_execution(AuditEntry.objects.using(using).filter(execution_id__in=ids).order_by("pk"))
        emitted = OutboxEvent.objects.using(using).filter(execution_id__in=ids).prefetch_related("deliveries")
        events = _by_execution(emitted.order_by("pk"))
        rows = _by_execution(LedgerRow.objects.using(using).filter(execution_id__in=ids))
        for execution in executions:
            about = str(execution.pk)
            yield cls(
                execution,
                now,
                timers.get(execution.pk),
                steps[execution.pk],
                signals[execution.pk],
                [entry.kind for entry in audit[execution.pk]],
                Counter(row.step for row in rows[execution.pk]),
                told.effects[about],
                told.seen[about],
                told.sent[about],
                told.interruptions[about] + told.interruptions[None],
                events[execution.pk],
                [delivery for event in events[execution.pk] for delivery in event.deliveries.all()],
                told.received[about],
            )


def _by_execution(rows: Iterable[Any]) -> defaultdict[UUID, list[Any]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.execution_id].append(row)
    return groups


# -- one function per invariant ------------------------------------------------------------------------


def _starts(using: str, ledger: Ledger) -> Iterator[str]:
    """Every accepted start has its execution, one per key; a rolled-back one has none."""
    table = defaultdict(list)
    for pk, workflow, key in Execution.objects.using(using).values_list("pk", "workflow", "key"):
        table[workflow, key].append(str(pk))
    for line in ledger.lines("started"):
        ids = table[line["workflow"], line["key"]]
        if ids != [line["execution"]]:
            yield f"start of key {line['key']!r} returned {line['execution']}, the table has {ids}"
    for line in ledger.lines("never_started"):
        if table[line["workflow"], line["key"]]:
            yield f"key {line['key']!r} was rolled back and exists"


def _rests(case: _Case) -> Iterator[str]:
    """Closed, or parked on something that can still happen, or stuck with a reason."""
    execution, timer = case.execution, case.timer
    if execution.is_closed != (timer is None):
        yield f"is {execution.status} and its timer {'is missing' if timer is None else 'exists'}"
    if execution.status in {Status.COMPLETED, Status.FAILED}:
        open_steps = [step.name for step in case.steps if step.status not in SETTLED]
        if open_steps:
            yield f"is {execution.status} with open checkpoints {open_steps}"
    if timer is None:
        return
    if timer.token is not None:
        if timer.due_at <= case.now - GRACE:
            yield "is running under a lease that has run out"
        elif holders.is_dead(timer.holder):
            yield f"is held by {timer.holder}, which is dead"
    elif timer.due_at is None and not timer.held:
        yield from _waits_in_vain(case)
    elif timer.due_at is not None and timer.due_at <= case.now - GRACE:
        yield f"has been due since {timer.due_at} and nobody took it"
    if timer.held and execution.status != Status.STUCK:
        yield f"is set aside and {execution.status}"


def _waits_in_vain(case: _Case) -> Iterator[str]:
    waits = [step for step in case.steps if step.kind == Kind.WAIT and step.status == StepStatus.WAITING]
    if not waits:
        yield "waits for news and no wait is recorded"
    for wait in waits:
        if any(signal.name == wait.target and not signal.consumed_by for signal in case.signals):
            yield f"waits for {wait.target!r}, which has come: a lost wake-up"


def _ends_once(case: _Case) -> Iterator[str]:
    ends = [kind for kind in case.audit if kind in CLOSED]
    is_told = case.execution.is_closed and case.execution.status != Status.COMPLETED
    wanted = [case.execution.status] if is_told else []
    if ends != wanted:
        yield f"is {case.execution.status}, the audit trail tells the ends {ends}"


def _checkpoints(case: _Case) -> Iterator[str]:
    """One per name, positions without gaps, and one value for the first run and every replay."""
    positions = [step.position for step in case.steps]
    if positions != list(range(len(positions))):
        yield f"has checkpoints at {positions}"
    for name, count in Counter(step.name for step in case.steps).items():
        if count > 1:
            yield f"has {count} checkpoints named {name!r}"
    values = defaultdict(set)
    for line in case.seen:
        values[line["name"]].add(line["value"])
    for name, different in values.items():
        if len(different) > 1:
            yield f"saw different values of {name!r}: {sorted(different)}"


def _atomic_effects(case: _Case) -> Iterator[str]:
    completed = Counter(
        step.name for step in _witnessed(case) if WITNESSED[step.target].atomic and step.status == StepStatus.COMPLETED
    )
    if case.rows != completed:
        yield f"has atomic effects {dict(case.rows)}, its completed atomic steps are {sorted(completed)}"


def _ordinary_effects(case: _Case) -> Iterator[str]:
    runs = Counter(line["step"] for line in case.effects)
    recorded = {step.name: step for step in _witnessed(case)}
    for name in runs.keys() | recorded.keys():
        step = recorded.get(name)
        definition = WITNESSED[step.target] if step else None
        if definition is not None and definition.atomic:
            continue
        if definition is not None and definition.at_most_once and runs[name] > 1:
            yield f"ran the at-most-once step {name!r} {runs[name]} times"
        if step is not None and step.status == StepStatus.COMPLETED and not runs[name]:
            yield f"recorded {name!r} as completed, and it never ran"
        granted = case.audit.count("compensation_retried")
        if definition is not None and step.attempts > (definition.retry.max_attempts or step.attempts) + granted:
            yield f"made {step.attempts} attempts of {name!r}"
        allowed = (step.attempts if step else 0) + case.interruptions
        if runs[name] > allowed:
            yield f"ran {name!r} {runs[name]} times, {allowed} are explained by attempts and interruptions"


def _witnessed(case: _Case) -> list[Step]:
    bodies = {Kind.STEP, Kind.COMPENSATION}
    return [step for step in case.steps if step.kind in bodies and step.target in WITNESSED]


def _idempotency_keys(case: _Case) -> Iterator[str]:
    steps = defaultdict(set)
    for line in case.effects:
        steps[line["key"]].add(line["step"])
    names = Counter(name for shared in steps.values() for name in shared)
    for name, count in names.items():
        if count > 1:
            yield f"gave {name!r} {count} different idempotency keys"
    for shared in steps.values():
        if len(shared) > 1:
            yield f"gave {sorted(shared)} one idempotency key"


def _compensations(case: _Case) -> Iterator[str]:
    """What was to be undone is, in that order, each once; a completed step is named, no other."""
    marks = [step for step in case.steps if step.kind == Kind.ROLLBACK]
    done = {step.name for step in case.steps if step.kind == Kind.STEP and step.status == StepStatus.COMPLETED}
    for step in (step for step in case.steps if step.kind == Kind.COMPENSATION):
        if _undone_by(step) not in done:
            yield f"undid by {step.name!r} what never completed"
    undone = [_undone_by(step) for step in case.steps if step.kind == Kind.COMPENSATION]
    by_completion = sorted((step for step in case.steps if step.name in undone), key=_completion)
    if undone != [step.name for step in reversed(by_completion)]:
        yield f"undid {undone}, reserved in the order {[step.name for step in by_completion]}"
    for mark in marks:
        wanted = payloads.load(mark.result)["steps"]
        is_done = case.execution.is_closed and case.execution.status != Status.TERMINATED
        after = [
            _undone_by(step) for step in case.steps if step.kind == Kind.COMPENSATION and step.position > mark.position
        ]
        if after != wanted[: len(after)] or (is_done and after != wanted):
            yield f"was to undo {wanted}, and did {after}"
    if len(marks) > 1 or (marks and case.execution.status == Status.COMPLETED):
        yield f"is {case.execution.status} with {len(marks)} rollbacks recorded"


def _undone_by(step: Step) -> str:
    """The name of the step that a compensation undoes; it is recorded where the rollback was asked for."""
    return step.name.rpartition("/")[2].removeprefix("rollback:").replace(">", "/")


def _completion(step: Step) -> tuple[Any, int]:
    return step.finished_at, step.position


def _signals(case: _Case) -> Iterator[str]:
    """Each accepted one is kept, consumed at most once, by name in the order of acceptance."""
    accepted = Counter((line["name"], line["signal_id"]) for line in case.sent)
    kept = Counter((signal.name, signal.signal_id) for signal in case.signals)
    for lost in accepted.keys() - kept.keys():
        yield f"accepted the signal {lost} and lost it"
    waits = {step.name: step for step in case.steps if step.kind == Kind.WAIT}
    consumers = Counter(signal.consumed_by for signal in case.signals if signal.consumed_by)
    for consumer, count in consumers.items():
        if count > 1 or consumer not in waits or waits[consumer].status != StepStatus.COMPLETED:
            yield f"{count} signals say they were consumed by {consumer!r}"
    for name in {signal.name for signal in case.signals}:
        yield from _order(name, [signal for signal in case.signals if signal.name == name], waits)
    for wait in waits.values():
        if wait.result is not None and not consumers[wait.name]:
            yield f"{wait.name!r} has a payload that no signal brought"


def _order(name: str, signals: list[Signal], waits: dict[str, Step]) -> Iterator[str]:
    consumed = [signal for signal in signals if signal.consumed_by]
    if consumed != signals[: len(consumed)]:
        yield f"a later {name!r} was consumed before an earlier one"
    taken_by = [waits[signal.consumed_by] for signal in consumed if signal.consumed_by in waits]
    if sorted(taken_by, key=lambda wait: wait.position) != taken_by:
        yield f"{name!r} was not consumed in the order of acceptance"
    for signal, wait in zip(consumed, taken_by, strict=False):
        if signal.payload != wait.result:
            yield f"{wait.name!r} holds another payload than the signal that it consumed"


def _timers(case: _Case) -> Iterator[str]:
    for step in case.steps:
        timed_out = step.kind == Kind.WAIT and step.result is None
        if step.status == StepStatus.COMPLETED and (step.kind == Kind.SLEEP or timed_out):
            if step.due_at is None:
                yield f"{step.name!r} ended and had no time to end at"
            elif step.finished_at < step.due_at:
                yield f"{step.name!r} ended {step.due_at - step.finished_at} early"
    if case.execution.status == Status.TIMED_OUT and case.execution.finished_at < case.execution.deadline_at:
        yield "timed out before its deadline"


def _events(case: _Case) -> Iterator[str]:
    """One row for each recorded emit and no other; delivered is what a receiver has witnessed, by the event's id."""
    emits = [step for step in case.steps if step.kind == Kind.EMIT and step.status == StepStatus.COMPLETED]
    recorded = {step.id: step.target for step in emits}
    emitted = {event.id: event.name for event in case.events}
    if recorded != emitted:
        yield f"recorded the emits {recorded}, its events are {emitted}"
    received = Counter((line["event"], line["receiver"]) for line in case.received)
    deliveries = {(str(each.event_id), each.receiver): each for each in case.deliveries}
    for unknown in received.keys() - deliveries.keys():
        yield f"{unknown} was received and is no delivery of it"
    for about, delivery in deliveries.items():
        if delivery.status == DeliveryStatus.DELIVERED and not received[about]:
            yield f"{about} is delivered, and was never received"
        if delivery.status == DeliveryStatus.PENDING and delivery.due_at <= case.now - GRACE:
            yield f"{about} has been due since {delivery.due_at} and nobody took it"
        if received[about] > delivery.attempts:
            yield f"{about} was received {received[about]} times in {delivery.attempts} attempts"
    for event in case.events:
        addressed = sorted(delivery.receiver for delivery in case.deliveries if delivery.event_id == event.id)
        wanted = sorted(receiver.name for receiver in receivers.of(event.name))
        if addressed != wanted:
            yield f"{event.id} is addressed to {addressed}, its receivers are {wanted}"


_INVARIANTS = (
    ("I2", _rests),
    ("I3", _ends_once),
    ("I4", _checkpoints),
    ("I5", _atomic_effects),
    ("I6", _ordinary_effects),
    ("I6", _idempotency_keys),
    ("I8", _signals),
    ("I9", _timers),
    ("I11", _compensations),
    ("I12", _events),
)
