"""What the order page shows: every order with the live state of its execution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from django_durable import client
from django_durable.models import SETTLED, Execution, Status, Step, StepStatus
from testproject.shop.models import Order
from testproject.shop.workflows import fulfil, onboard
from testproject.shop.workflows.orders import Progress

# What people call the checkpoints of orders.fulfil, in their order.
STAGES = {
    "reserve_stock": "Stock",
    "charge": "Payment",
    "mark_paid": "Paid",
    "approval": "Approval",
    "packing": "Packing",
    "mark_shipped": "Shipped",
}
UNDO = {"rollback:charge": "Refund", "rollback:reserve_stock": "Back on the shelf", "cancel_order": "Cancelled"}
MARKS = {
    StepStatus.COMPLETED: "done",
    StepStatus.SKIPPED: "failed",
    StepStatus.FAILED: "failed",
    StepStatus.CANCELLED: "failed",
    StepStatus.TIMED_OUT: "failed",
    StepStatus.RETRYING: "retry",
}
PHASES = {"approval": "waits for a decision", "packing": "being packed"}  # in which it waits; what people call it
ENDING = {Status.CANCELLING, Status.COMPENSATING}


@dataclass(frozen=True, slots=True)
class Stage:
    label: str
    mark: str  # done, failed, retry, now, todo
    attempts: int = 0

    @property
    def note(self) -> str:
        if self.mark == "retry":
            return f"attempt {self.attempts + 1}"
        return f"{self.attempts} attempts" if self.attempts > 1 else ""


@dataclass(slots=True)
class Row:
    """One order; everything else is worked out from its execution's rows."""

    order: Order
    execution: Execution | None
    state: str
    pid: int | None  # of the process that has it right now
    stages: list[Stage] = field(default_factory=list)
    progress: Progress | None = None  # what an open execution says of itself
    detail: str = ""

    @property
    def needs_decision(self) -> bool:
        return self.progress is not None and self.progress.needs_decision and self.state not in ENDING

    @property
    def takes_note(self) -> bool:
        return self.progress is not None and self.progress.takes_note and self.state not in ENDING

    @property
    def phase(self) -> str:
        return self.progress.phase if self.progress is not None else ""


def rows(limit: int = 25) -> list[Row]:
    """The newest orders; three queries, and two more to ask each open execution how far it is."""
    return _rows(list(Order.objects.select_related("customer", "product").order_by("-pk")[:limit]))


def row_of(order: Order) -> Row:
    return _rows([order])[0]


def _rows(orders: list[Order]) -> list[Row]:
    now = timezone.now()
    executions = _executions([order.execution_key for order in orders])
    steps = _steps([execution.id for execution in executions.values()])
    return [_row(order, executions.get(order.execution_key), steps, now) for order in orders]


def live_executions() -> list[tuple[Execution, int]]:
    """Executions that a process has right now, with its id."""
    found = client.find(status=Status.RUNNING).select_related("timer")
    now = timezone.now()
    return [(execution, pid) for execution in found if (pid := holder_pid(execution, now)) is not None]


def holder_pid(execution: Execution, now: datetime) -> int | None:
    """The process named by a live lease; see ``engine/holders.py`` for the holder's form."""
    if execution.live_status(now) != Status.RUNNING:
        return None
    return int(execution.timer.holder.split(":")[1])


def onboarding(limit: int = 5) -> list[Execution]:
    """The newest executions that a Django signal started."""
    return list(client.find(workflow=onboard.name)[:limit])


def _executions(keys: list[str]) -> dict[str | None, Execution]:
    found = client.find(workflow=fulfil.name).filter(key__in=keys).select_related("timer")
    return {execution.key: execution for execution in found}


def _steps(ids: list[UUID]) -> dict[UUID, list[Step]]:
    by_execution: dict[UUID, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(execution_id__in=ids).defer("result", "error").order_by("position"):
        by_execution[step.execution_id].append(step)
    return by_execution


def _row(order: Order, execution: Execution | None, steps: dict[UUID, list[Step]], now: datetime) -> Row:
    if execution is None:
        return Row(order, None, "none", None)
    pid, state = holder_pid(execution, now), execution.live_status(now)
    row = Row(order, execution, state, pid, _stages(execution, steps[execution.id]))
    if not execution.is_closed:
        row.progress = client.query(execution, "progress")
    row.detail = _detail(row, now)
    return row


def _stages(execution: Execution, steps: list[Step]) -> list[Stage]:
    parts: dict[str, list[Step]] = defaultdict(list)  # a part with branches has its own checkpoint and those inside
    for step in steps:
        parts[step.name.partition("/")[0]].append(step)
    is_undone = any(name in parts for name in UNDO)
    names = [name for name in STAGES if name in parts or not is_undone]
    names += [name for name in UNDO if name in parts]
    stages = [_stage(name, parts.get(name)) for name in names]
    first = next((at for at, stage in enumerate(stages) if stage.mark == "todo"), None)
    if (
        first is not None
        and not execution.is_closed
        and all(stage.mark in {"done", "failed"} for stage in stages[:first])
    ):
        stages[first] = Stage(stages[first].label, "now")
    return stages


def _stage(name: str, steps: list[Step] | None) -> Stage:
    label = STAGES.get(name) or UNDO[name]
    if steps is None:
        return Stage(label, "todo")
    if any(step.status not in SETTLED for step in steps[1:]):
        return Stage(label, "now")
    return Stage(label, MARKS.get(StepStatus(steps[0].status), "now"), steps[0].attempts)


def _detail(row: Row, now: datetime) -> str:
    """One line for people: who has it, or what it waits for and how long at most."""
    execution = row.execution
    assert execution is not None
    if row.pid is not None:
        return f"{_current(row.stages)}, in process {row.pid}"
    if row.progress is None:
        return row.order.cancel_reason
    if execution.waiting_until is not None and execution.waiting_until <= now:
        return "due, for a free worker"
    about = PHASES.get(row.phase, "") if row.state == Status.WAITING else ""
    until = f", until {_clock(execution.waiting_until, now)}" if execution.waiting_until is not None else ""
    parcels = f", parcels: {row.progress.parcels}" if row.progress.parcels else ""
    return f"{about or execution.waiting_for or 'for a free worker'}{parcels}{until}"


def _clock(at: datetime, now: datetime) -> str:
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%d %b %H:%M")


def _current(stages: Iterable[Stage]) -> str:
    return next((stage.label for stage in stages if stage.mark in {"now", "retry"}), "replaying")
