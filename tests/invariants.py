"""One checker for the promises, used after every test that crashes or races the engine.

Two witnesses that do not trust each other: the engine's tables, and the ledger (``tests.ledger_app``). The numbers
are those of the invariants in ``tests/crash/__init__.py``. Call it when the work is done or rests, not in the middle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from typing import Any
from uuid import UUID

from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.engine import holders, payloads, updates
from django_durable.engine.fanout import Family
from django_durable.engine.history import RETRIED
from django_durable.engine.schedules import times
from django_durable.events import receivers
from django_durable.models import (
    CLOSED,
    SETTLED,
    AuditEntry,
    Delivery,
    DeliveryStatus,
    Execution,
    Kind,
    OnParentClose,
    OutboxEvent,
    Schedule,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
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
    found += [f"I10 {text}" for text in schedules(using)]
    for case in _cases(using, ledger, only):
        about = f"{case.execution.workflow} {case.execution.id}"
        for number, invariant in _INVARIANTS:
            found += [f"{number} {about}: {text}" for text in invariant(case)]
    return found


def ordinary_runs(using: str, ledger: Ledger) -> Iterator[tuple[UUID, str, int, int]]:
    """How often each ordinary body ran, and how many attempts are recorded of it."""
    for case in _cases(using, ledger, None):
        attempts = Counter[str]()
        for step in (*_witnessed(case), *_bodies(case.redone)):
            attempts[step.name] += step.attempts
        for name, runs in Counter(line["step"] for line in case.effects).items():
            yield case.execution.pk, name, runs, attempts[name]


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
        self.gone = ledger.gone()


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
    aside: list[SetAsideStep]
    reopened: list[str]  # what it had ended as before each retry
    signals: list[Signal]
    audit: list[str]
    rows: Counter[str]
    effects: list[dict[str, Any]]
    seen: list[dict[str, Any]]
    sent: list[dict[str, Any]]
    interruptions: int
    children: list[Execution]
    events: list[OutboxEvent]
    deliveries: list[Delivery]
    received: list[dict[str, Any]]
    chain: list[Execution]
    chain_signals: list[Signal]
    slots: list[Slot]
    gone: set[str]  # what was pruned, and the chains of which parts were
    using: str

    @classmethod
    def load(cls, using: str, executions: list[Execution], told: _Told) -> Iterator[_Case]:
        """One case for each, in a handful of queries for all."""
        ids = [execution.pk for execution in executions]
        now = Execution.objects.using(using).filter(pk__in=ids).values_list(DatabaseNow(), flat=True).first()
        timers = Timer.objects.using(using).in_bulk(ids)
        steps = _by_execution(Step.objects.using(using).filter(execution_id__in=ids).order_by("position"))
        signals = _by_execution(Signal.objects.using(using).filter(execution_id__in=ids).order_by("seq"))
        audit = _by_execution(AuditEntry.objects.using(using).filter(execution_id__in=ids).order_by("pk"))
        aside = _by_execution(SetAsideStep.objects.using(using).filter(execution_id__in=ids).order_by("pk"))
        emitted = OutboxEvent.objects.using(using).filter(execution_id__in=ids).prefetch_related("deliveries")
        events = _by_execution(emitted.order_by("pk"))
        rows = _by_execution(LedgerRow.objects.using(using).filter(execution_id__in=ids))
        children = defaultdict(list)
        for child in Execution.objects.using(using).filter(parent_id__in=ids):
            children[child.parent_id].append(child)
        slots = _by_execution(Slot.objects.using(using).filter(execution_id__in=ids).select_related("limit"))
        chains, chain_signals = _chains_of(using, executions)
        for execution in executions:
            about = str(execution.pk)
            yield cls(
                execution,
                now,
                timers.get(execution.pk),
                steps[execution.pk],
                aside[execution.pk],
                [entry.before["status"] for entry in audit[execution.pk] if entry.kind == RETRIED],
                signals[execution.pk],
                [entry.kind for entry in audit[execution.pk]],
                Counter(row.step for row in rows[execution.pk]),
                told.effects[about],
                told.seen[about],
                told.sent[about],
                told.interruptions[about] + told.interruptions[None],
                children[execution.pk],
                events[execution.pk],
                [delivery for event in events[execution.pk] for delivery in event.deliveries.all()],
                told.received[about],
                chains[execution.chain],
                chain_signals[execution.chain] if execution.chain else signals[execution.pk],
                slots[execution.pk],
                told.gone,
                using,
            )

    @property
    def own(self) -> list[Step]:
        """The checkpoints that it made itself: neither copied from another execution, nor settled by a person."""
        by_hand = {each.checkpoint_id for each in self.aside if each.set_aside_by in ("step_patched", "step_skipped")}
        is_copy = self.execution.origin is not None
        return [
            step
            for step in self.steps
            if step.pk not in by_hand and not (is_copy and step.started_at < self.execution.created_at)
        ]

    @property
    def redone(self) -> list[SetAsideStep]:
        """What was done and then taken out of the history, so that it was done again."""
        return [each for each in self.aside if each.set_aside_by == RETRIED]


def _chains_of(using: str, executions: list[Execution]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The executions and the signals of the chains of these, by chain."""
    ids = {execution.chain for execution in executions} - {None}
    members, sent = defaultdict(list), defaultdict(list)
    for execution in Execution.objects.using(using).filter(chain__in=ids):
        members[execution.chain].append(execution)
    for signal in Signal.objects.using(using).filter(execution__chain__in=ids).select_related("execution"):
        sent[signal.execution.chain].append(signal)
    return members, sent


def _by_execution(rows: Iterable[Any]) -> defaultdict[UUID, list[Any]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.execution_id].append(row)
    return groups


# -- one function per invariant ------------------------------------------------------------------------


def _starts(using: str, ledger: Ledger) -> Iterator[str]:
    """Every accepted start has its execution, one per key; a rolled-back one has none."""
    table = defaultdict(list)  # of the first ones of chains, where the key is handed on
    firsts = {}
    columns = ("pk", "chain", "workflow", "key", "key_scope")
    for pk, chain, workflow, key, scope in Execution.objects.using(using).values_list(*columns):
        firsts[str(pk)] = str(chain or pk)
        if scope is not None:  # otherwise it has given its key up
            table[workflow, key].append(firsts[str(pk)])
    gone = ledger.gone()
    for line in ledger.lines("started"):
        if line["execution"] in gone:
            continue
        ids = table[line["workflow"], line["key"]]
        if ids != [firsts.get(line["execution"])]:
            yield f"start of key {line['key']!r} returned {line['execution']}, the table has {ids}"
    for line in ledger.lines("never_started"):
        if table[line["workflow"], line["key"]]:
            yield f"key {line['key']!r} was rolled back and exists"


def schedules(using: str) -> Iterator[str]:
    """No nominal time is ticked twice, none is left out, none is early; each start has its execution, of its own."""
    mine: Counter[UUID] = Counter()
    for schedule in Schedule.objects.using(using).prefetch_related("ticks__execution"):
        ticks = sorted(schedule.ticks.all(), key=lambda tick: tick.nominal_at)
        mine.update(tick.execution_id for tick in ticks if tick.execution_id is not None)
        yield from (f"{schedule}: {text}" for text in _ticks(schedule, ticks))
    yield from (f"execution {execution} is that of {number} ticks" for execution, number in mine.items() if number > 1)


def _ticks(schedule: Schedule, ticks: list[ScheduleTick]) -> Iterator[str]:
    if schedule.buffered != sum(tick.outcome == "buffered" for tick in ticks):
        yield f"says that {schedule.buffered} ticks wait"
    for before, after in pairwise(ticks):
        if after.nominal_at <= (before.until_at or before.nominal_at):
            yield f"{after.nominal_at} is ticked twice"
    is_as_made = schedule.created_at == schedule.updated_at  # its cadence and jitter are what they were
    for tick in ticks:
        due_at = times.due_at(schedule, tick.nominal_at) if is_as_made else tick.nominal_at
        if tick.kind == "regular" and tick.created_at < due_at:
            yield f"{tick.nominal_at} was ticked at {tick.created_at}, and due at {due_at}"
        if tick.outcome == "started" and tick.execution is None and tick.live:
            yield f"{tick.nominal_at} has no execution"
        if tick.execution is not None and tick.execution.workflow != schedule.workflow:
            yield f"{tick.nominal_at} has an execution of {tick.execution.workflow}"
    regular = [tick for tick in ticks if tick.kind == "regular"]
    if regular and is_as_made:
        yield from _left_out(schedule, regular)


def _left_out(schedule: Schedule, ticks: list[ScheduleTick]) -> Iterator[str]:
    told = {tick.nominal_at: tick for tick in ticks}
    at: datetime | None = ticks[0].nominal_at
    while at is not None and schedule.last_at is not None and at <= schedule.last_at:
        tick = told.get(at)
        if tick is None:
            yield f"{at} has no tick"
            return
        at = times.following(schedule, tick.until_at or at)


def _rests(case: _Case) -> Iterator[str]:
    """Closed, or parked on something that can still happen, or stuck with a reason."""
    execution, timer = case.execution, case.timer
    if execution.is_closed != (timer is None):
        yield f"is {execution.status} and its timer {'is missing' if timer is None else 'exists'}"
    if execution.status in {Status.COMPLETED, Status.FAILED, Status.CONTINUED} and not _BY_HAND.keys() & set(
        case.audit
    ):
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
        yield from () if any(not slot.granted for slot in case.slots) else _waits_in_vain(case)
    elif timer.due_at is not None and timer.due_at <= case.now - GRACE:
        yield f"has been due since {timer.due_at} and nobody took it"
    has_no_turn = execution.fan_out is not None and execution.status in {Status.PENDING, Status.CANCELLING}
    if timer.held and execution.status not in {Status.STUCK, Status.PAUSED} and not has_no_turn:
        yield f"is set aside and {execution.status}"


def _waits_in_vain(case: _Case) -> Iterator[str]:
    waits = [step for step in case.steps if step.status == StepStatus.WAITING]
    lingering = [each for each in case.children if each.on_parent_close == OnParentClose.WAIT and not each.is_closed]
    if not waits and not lingering:
        yield "waits for news and no wait is recorded"
    ended = {str(child.chain or child.pk) for child in case.children if child.is_closed and not is_continued(child)}
    maps = {str(family.first): family for family in _maps(case)}
    for wait in waits:
        family = maps.get(wait.target)
        if family is not None and {str(family.id_of(index)) for index in range(family.count)} <= ended:
            yield f"waits for the {family.count} children of {wait.name!r}, which have all ended: a lost wake-up"
        if wait.kind == Kind.JOIN and family is None and wait.target in ended:
            yield f"waits for its child {wait.target}, which has ended: a lost wake-up"
        if any(signal.name == wait.target and not signal.consumed_by for signal in case.signals):
            yield f"waits for {wait.target!r}, which has come: a lost wake-up"


_BY_HAND = {"force_failed": "failed", "force_completed": "completed"}


def _ends_once(case: _Case) -> Iterator[str]:
    ends = [_BY_HAND.get(kind, kind) for kind in case.audit if kind in CLOSED or kind in _BY_HAND]
    untold = {Status.COMPLETED, Status.CONTINUED} if get_settings().audit == "default" else set()
    if "force_completed" in case.audit:
        untold -= {Status.COMPLETED}
    is_told = case.execution.is_closed and case.execution.status not in untold
    wanted = [status for status in case.reopened if status in CLOSED]
    wanted += [case.execution.status] if is_told else []
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
        if len(different) > 1 and not case.aside:
            yield f"saw different values of {name!r}: {sorted(different)}"


def _atomic_effects(case: _Case) -> Iterator[str]:
    completed = Counter(
        step.name
        for step in (*_witnessed(case), *_bodies(case.redone))
        if WITNESSED[step.target].atomic and step.status == StepStatus.COMPLETED and not _is_resolved(step)
    )
    if case.rows != completed:
        yield f"has atomic effects {dict(case.rows)}, its completed atomic steps are {sorted(completed)}"


def _is_resolved(step: Step | SetAsideStep) -> bool:
    """A person has undone it by hand: its last error is kept beside that."""
    return step.kind == Kind.COMPENSATION and step.error is not None


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
        granted = case.audit.count("compensation_retried") + len(case.reopened)
        if definition is not None and step.attempts > (definition.retry.max_attempts or step.attempts) + granted:
            yield f"made {step.attempts} attempts of {name!r}"
        allowed = (step.attempts if step else 0) + case.interruptions
        allowed += sum(each.attempts for each in case.aside if each.name == name)
        if runs[name] > allowed:
            yield f"ran {name!r} {runs[name]} times, {allowed} are explained by attempts and interruptions"


def _witnessed(case: _Case) -> list[Step]:
    return _bodies(case.own)


def _bodies(steps: Iterable[Any]) -> list[Any]:
    kinds = {Kind.STEP, Kind.COMPENSATION}
    return [step for step in steps if step.kind in kinds and step.target in WITNESSED]


def _idempotency_keys(case: _Case) -> Iterator[str]:
    steps = defaultdict(set)
    for line in case.effects:
        steps[line["key"]].add(line["step"])
    names = Counter(name for shared in steps.values() for name in shared)
    again = Counter(each.name for each in case.redone if each.status == StepStatus.COMPLETED)
    for name, count in names.items():
        if count > 1 + again[name]:
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
    yield from _undone_too_early(case)
    yield from _went_back(case)
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


def _went_back(case: _Case) -> Iterator[str]:
    """Whoever goes back has undone each completion once at the most, and has gone back before it ends by itself."""
    completed = Counter(each.name for each in case.redone if each.status == StepStatus.COMPLETED)
    for step in {each.name: each for each in case.redone if each.kind == Kind.COMPENSATION}.values():
        undone, done = completed[step.name], completed[_undone_by(step)]
        if undone > done:
            yield f"undid {undone} times by {step.name!r} what completed {done} times"
    stopped = case.execution.status == Status.TERMINATED or _BY_HAND.keys() & set(case.audit)
    if case.execution.is_closed and not stopped and any(step.kind == Kind.BACK for step in case.steps):
        yield "has ended on its way back"


def _undone_too_early(case: _Case) -> Iterator[str]:
    """Within one scope nothing is undone while what completed later stands, but a race's winner."""
    scopes = defaultdict(list)
    winners = {f"{race}/{name}/" for race, name in _winners(case)}
    for step in case.steps:
        if step.kind == Kind.COMPENSATION:
            scopes[step.name.rpartition("/")[0]].append(step)
    completed = {step.name: step for step in case.steps if step.kind == Kind.STEP}
    for undoing in scopes.values():
        for early, late in combinations(undoing, 2):
            first, second = completed.get(_undone_by(early)), completed.get(_undone_by(late))
            if first is None or second is None or _completion(first) > _completion(second):
                continue
            has_won = any(second.name.startswith(each) and not first.name.startswith(each) for each in winners)
            if second.position < early.position and second.finished_at <= early.started_at and not has_won:
                yield f"undid {first.name!r} before {second.name!r}, which completed later"


def _winners(case: _Case) -> Iterator[tuple[str, str]]:
    """The races that were won, and by whom: of those of one name in one scope each is over before the next begins."""
    latest = {}
    for step in case.steps:
        if step.kind == Kind.RACE:
            scope, slash, name = step.name.rpartition("/")
            latest[scope + slash + name.partition("#")[0]] = step.name
        elif step.kind == Kind.WON and step.result is not None:
            scope, slash, name = step.name.rpartition("/")
            yield latest[scope + slash + name.partition(":won")[0]], payloads.load(step.result)


def _undone_by(step: Step | SetAsideStep) -> str:
    """The name of the step that a compensation undoes; it is recorded in the scope of who undoes, by its path there."""
    scope, slash, name = step.name.rpartition("/")
    return scope + slash + name.removeprefix("rollback:").replace(">", "/")


def _completion(step: Step) -> tuple[Any, int]:
    return step.finished_at, step.position


def _signals(case: _Case) -> Iterator[str]:
    """Each accepted one is kept, consumed at most once, by name in the order of acceptance."""
    accepted = Counter((line["name"], line["signal_id"]) for line in case.sent)
    kept = Counter((signal.name, signal.signal_id) for signal in case.chain_signals)
    for (name, signal_id), count in kept.items():
        if signal_id is not None and count > 1:
            yield f"accepted the signal {name!r} {signal_id!r} {count} times"
    for lost in accepted.keys() - kept.keys():
        yield f"accepted the signal {lost} and lost it"
    signals = [signal for signal in case.signals if not _is_update(signal)]
    waits = {step.name: step for step in case.own if step.kind == Kind.WAIT}
    consumers = Counter(signal.consumed_by for signal in signals if signal.consumed_by)
    for consumer, count in consumers.items():
        if count > 1 or consumer not in waits or waits[consumer].status != StepStatus.COMPLETED:
            yield f"{count} signals say they were consumed by {consumer!r}"
    for name in {signal.name for signal in signals}:
        yield from _order(name, [signal for signal in signals if signal.name == name], waits)
    for wait in waits.values():
        if wait.result is not None and not consumers[wait.name]:
            yield f"{wait.name!r} has a payload that no signal brought"


def _order(name: str, signals: list[Signal], waits: dict[str, Step]) -> Iterator[str]:
    consumed = [signal for signal in signals if signal.consumed_by]
    if consumed != signals[: len(consumed)]:
        yield f"a later {name!r} was consumed before an earlier one"
    taken_by = [waits[signal.consumed_by] for signal in consumed if signal.consumed_by in waits]
    for one, other in pairwise(taken_by):  # of waits in two branches the later one may be served first
        is_beside = one.name.rpartition("/")[0] != other.name.rpartition("/")[0]
        if one.finished_at > other.finished_at or (one.position > other.position and not is_beside):
            yield f"{name!r} was not consumed in the order of acceptance"
    for signal, wait in zip(consumed, taken_by, strict=False):
        if signal.payload != wait.result:
            yield f"{wait.name!r} holds another payload than the signal that it consumed"


def _is_update(signal: Signal) -> bool:
    return signal.name.startswith(updates.PREFIX)


def _updates(case: _Case) -> Iterator[str]:
    """Each request is answered once, in the order of acceptance, by the checkpoint that has its id."""
    requests = [signal for signal in case.signals if _is_update(signal)]
    answers = {step.pk: step for step in case.own if step.kind == Kind.UPDATE}
    answered = [request for request in requests if request.consumed_by]
    if {request.pk for request in answered} != answers.keys():
        yield f"answered {sorted(step.name for step in answers.values())}, and {len(answered)} requests say so"
        return
    told = [(request.consumed_by, answers[request.pk].position) for request in answered]
    if told != [(step.name, step.position) for step in sorted(answers.values(), key=lambda step: step.position)]:
        yield f"did not answer in the order of acceptance: {told}"
    if answered != requests[: len(answered)]:
        yield "answered a later update before an earlier one"
    is_parked = case.execution.status in {Status.SLEEPING, Status.WAITING, Status.RETRYING}
    is_due = case.timer is not None and case.timer.due_at is not None and case.timer.due_at <= case.now
    waits = any(step.status not in SETTLED for step in case.steps)
    if len(answered) < len(requests) and is_parked and waits and not is_due and case.timer.token is None:
        yield f"rests and has not answered {len(requests) - len(answered)} updates: a lost wake-up"


def _timers(case: _Case) -> Iterator[str]:
    for step in case.steps:
        timed_out = step.kind == Kind.WAIT and step.result is None
        timed_out |= step.kind == Kind.UNTIL and step.result is not None and not payloads.load(step.result)[0]
        if step.status == StepStatus.COMPLETED and (step.kind == Kind.SLEEP or timed_out):
            if step.due_at is None:
                yield f"{step.name!r} ended and had no time to end at"
            elif step.finished_at < step.due_at:
                yield f"{step.name!r} ended {step.due_at - step.finished_at} early"
    if case.execution.status == Status.TIMED_OUT and case.execution.finished_at < case.execution.deadline_at:
        yield "timed out before its deadline"


def _children(case: _Case) -> Iterator[str]:
    """One per record of a start; none outlives its parent unless it was to be abandoned or is being cancelled."""
    records = (*case.own, *case.redone)
    begun = [step for step in records if step.kind == Kind.CHILD and step.status == StepStatus.COMPLETED]
    one_each = [str(payloads.load(step.result)) for step in begun]
    of_maps = [str(family.id_of(index)) for family in _maps(case) for index in range(family.count)]
    started = sorted(pk for pk in one_each + of_maps if pk not in case.gone)
    there = sorted(str(child.pk) for child in case.children if child.chain in (None, child.pk))
    if started != there:
        yield f"recorded the start of the children {started}, there are {there}"
    for child in case.children:
        if case.execution.is_closed and not child.is_closed:
            is_asked = child.on_parent_close == OnParentClose.CANCEL and child.cancel_requested_at is not None
            if child.on_parent_close != OnParentClose.ABANDON and not is_asked:
                yield f"is {case.execution.status} and left its child {child.pk} {child.status}"


def _events(case: _Case) -> Iterator[str]:
    """One row for each recorded emit and no other; delivered is what a receiver has witnessed, by the event's id."""
    emits = [step for step in case.own if step.kind == Kind.EMIT and step.status == StepStatus.COMPLETED]
    again = [step for step in case.redone if step.kind == Kind.EMIT and step.status == StepStatus.COMPLETED]
    recorded = {step.id: step.target for step in emits} | {step.checkpoint_id: step.target for step in again}
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


def is_continued(execution: Execution) -> bool:
    return execution.status == Status.CONTINUED


def _chains(case: _Case) -> Iterator[str]:
    """What was continued says so last, and has handed everything on; so have all but the last of a chain."""
    execution = case.execution
    said = [step for step in case.steps if step.kind == Kind.CONTINUE and step.status == StepStatus.COMPLETED]
    if len(said) != is_continued(execution):
        yield f"is {execution.status} and records {len(said)} times that it was continued"
    if execution.chain is None or str(execution.chain) in case.gone:
        return
    others = {other.pk: other for other in case.chain}
    last = [other for other in case.chain if not is_continued(other)]
    if len(last) != 1:
        yield f"its chain has the ends {[str(other.pk) for other in last]}"
    if is_continued(execution):
        if execution.key is not None or any(not signal.consumed_by for signal in case.signals):
            yield "was continued and has kept its key or a signal that nobody consumed"
        if said and (payloads.load(said[0].result) not in others or said[0] != case.steps[-1]):
            yield f"was continued as {payloads.load(said[0].result)}, which is not there, or did something after that"
    kept = {(other.workflow, other.parent_id, other.deadline_at, other.depth, other.queue) for other in case.chain}
    if len(kept) > 1:
        yield f"its chain does not agree: {kept}"


def _lineage(case: _Case) -> Iterator[str]:
    """What was taken out is whole: with all that was behind it, and what is there now is no older."""
    for each in case.redone:
        behind = [step for step in case.own if step.position >= each.position and step.finished_at is not None]
        for step in behind:
            if step.finished_at < each.set_aside_at and step.started_at < each.set_aside_at:
                yield f"keeps {step.name!r} behind {each.name!r}, which was set aside"
    if case.execution.random_seed is not None and case.execution.origin is None:
        yield "draws another's random numbers and comes from nobody"


def _slots(case: _Case) -> Iterator[str]:
    """None is kept beyond the end; nobody waits while there is room."""
    if case.execution.is_closed and case.slots:
        yield f"is {case.execution.status} and has the slots {case.slots}"
    for slot in case.slots:
        rows = Slot.objects.using(case.using).filter(limit=slot.limit_id, ready_at=None, execution__isnull=False)
        capacity, used = slot.limit.capacity, rows.held().count()
        if used > capacity and slot.ready_at is None:
            yield f"{slot.limit} is held by {used}, its capacity is {capacity}"
        if not slot.granted and used < capacity:
            yield f"waits for {slot.limit}, which has room: a lost wake-up"


def _maps(case: _Case) -> list[Family]:
    """The children of each map that has begun."""
    begun = [step for step in case.steps if step.kind == Kind.MAP and step.status == StepStatus.COMPLETED]
    return [Family(**payloads.load(step.result)) for step in begun]


def _counts(case: _Case) -> Iterator[str]:
    """What is left of each map is counted right; as many as may take their turn at one time do."""
    for family in _maps(case):
        ours = [child for child in case.children if family.first <= child.pk <= family.last]
        left = Counter(child.fan_out for child in ours if not child.is_closed)
        rows = {row.pk: row for row in family.counts(case.using)}
        if {pk: row.remaining for pk, row in rows.items()} != left:
            yield f"has {dict(left)} children open, counted are {list(rows.values())}"
        timers = Timer.objects.using(case.using).filter(pk__in=[child.pk for child in ours])
        waiting = timers.filter(held=True, due_at__isnull=True).count()
        if waiting and waiting == timers.count():
            yield f"has {waiting} children that wait for their turn, and nobody has one"


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
    ("I12", _children),
    ("I12", _counts),
    ("I13", _updates),
    ("I14", _chains),
    ("I17", _events),
    ("I18", _lineage),
    ("I20", _slots),
)
