"""What is due and was not begun: by queue, from the heads of the index of due timers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django_durable.engine.queues import known_queues
from django_durable.health.findings import KINDS, Finding, kind
from django_durable.health.look import MOST_COUNTED, MOST_EXAMPLES, MOST_QUEUES, MOST_ROWS, Look, at_least, duration
from django_durable.models import Delivery, DeliveryStatus, Priority, Status, Timer

SLOW_SECONDS = 60.0
STANDING_SECONDS = 600.0

OLDEST_READY = kind(
    "oldest_ready",
    "How long has the oldest new or woken execution of each queue been ready?",
    warning=f"more than {SLOW_SECONDS:.0f} s: the workers fall behind",
    critical=f"more than {STANDING_SECONDS:.0f} s",
    fix="Add workers for this queue, or processes to those there are; if it has none, start one. `manage.py "
    "durable_canary --queue NAME` tells a queue that is slow from one that stands.",
)
OVERDUE_TIMERS = kind(
    "overdue_timers",
    "Which sleeps, time-outs and retries should have ended?",
    warning=f"some are more than {SLOW_SECONDS:.0f} s late",
    critical=f"some are more than {STANDING_SECONDS:.0f} s late",
    fix="See the findings tick, workers and unread_queue first; if all are well, the workers are too few.",
)
EXPIRED_LEASES = kind(
    "expired_leases",
    "Which executions were left by a worker that died, and not taken up?",
    warning=f"some leases ended more than {SLOW_SECONDS:.0f} s ago",
    critical=f"some ended more than {STANDING_SECONDS:.0f} s ago",
    fix="They go on when a worker of their queue is free. Find out what killed the worker: its log, or the kernel's "
    "(out of memory).",
)
UNREAD_QUEUE = kind(
    "unread_queue",
    "Which queues hold open executions and are read by no worker?",
    warning="nothing on it is due yet, or no tick looks at it because it is not in `DURABLE['QUEUES']`",
    critical="something on it is due",
    fix="Start a worker that reads it (`celery worker -Q NAME`, `durable_worker --queue NAME`), and keep its name in "
    "DURABLE['QUEUES'].",
)
BACKLOG = kind(
    "delivery_backlog",
    "How long have events been waiting for their receivers?",
    warning=f"the oldest is more than {SLOW_SECONDS:.0f} s late",
    critical=f"more than {STANDING_SECONDS:.0f} s",
    fix="Workers deliver what is due on their queue: see unread_queue and workers. A slow receiver should start a "
    "workflow instead of doing the work.",
)
FAILED_DELIVERIES = kind(
    "failed_deliveries",
    "Which deliveries have used all their attempts?",
    warning="there are some",
    fix="Mend the receiver, then `client.retry_delivery(id)`. The error is on the delivery, in the admin.",
)


class Due(NamedTuple):
    execution_id: UUID
    queue: str
    due_at: datetime
    is_leased: bool
    status: str


def queues_in_use(look: Look) -> list[str]:
    """Names on live executions: one probe of the index for each, whatever their number."""
    found: list[str] = []
    timers = Timer.objects.using(look.using).order_by("queue")
    while len(found) < MOST_QUEUES:
        after = timers.filter(queue__gt=found[-1]) if found else timers
        name = after.values_list("queue", flat=True).first()
        if name is None:
            break
        found.append(name)
    return found


def due_on(look: Look, queue: str) -> list[Due]:
    """The longest due of each priority."""
    found: list[Due] = []
    timers = Timer.objects.using(look.using).due().filter(queue=queue)
    for priority in Priority:
        head = timers.filter(priority=priority).order_by("due_at")[: MOST_ROWS // len(Priority)]
        rows = head.values_list("execution_id", "queue", "due_at", "token", "execution__status")
        found += [
            Due(pk, name, due_at, token is not None, status) for pk, name, due_at, token, status in rows if due_at
        ]
    return found


def find_due(look: Look) -> Iterator[Finding]:
    """Ready, overdue and left behind: three findings for each queue where there is something to say."""
    by_queue = {queue: due_on(look, queue) for queue in queues_in_use(look)}
    counts = {queue: count_due(look, queue) for queue, rows in by_queue.items() if rows}
    for kind_, belongs in (
        (OLDEST_READY, lambda due: not due.is_leased and due.status == Status.PENDING),
        (OVERDUE_TIMERS, lambda due: not due.is_leased and due.status != Status.PENDING),
        (EXPIRED_LEASES, lambda due: due.is_leased),
    ):
        found = [
            _late(look, kind_.code, mine, counts[queue])
            for queue, rows in by_queue.items()
            if (mine := sorted(filter(belongs, rows), key=lambda due: due.due_at))
        ]
        yield from found or [kind_.ok("None.", queues=len(by_queue))]
    yield from find_unread(look, {queue for queue, rows in by_queue.items() if rows}, list(by_queue))


def _late(look: Look, code: str, rows: list[Due], count: int) -> Finding:
    queue = rows[0].queue
    by = {OLDEST_READY.code: "ready", OVERDUE_TIMERS.code: "overdue", EXPIRED_LEASES.code: "without a living worker"}
    age = max(look.seconds_since(rows[0].due_at), 0.0)
    readers = look.readers_of(queue)
    data: dict[str, Any] = {
        "queue": queue,
        "age_seconds": age,
        "due_on_queue": count,
        "examples": [str(due.execution_id) for due in rows[:MOST_EXAMPLES]],
        "readers": readers[:10],
    }
    what = (
        f"Queue {queue!r}: the oldest execution has been {by[code]} for {duration(age)}; "
        f"{at_least(count, MOST_COUNTED)} due, {len(readers)} workers read it."
    )
    return _graded(code, age, what, data)


def _graded(code: str, age: float, what: str, data: dict[str, Any]) -> Finding:
    own = KINDS[code]
    if age > STANDING_SECONDS:
        return own.alarm(what, **data)
    return own.warn(what, **data) if age > SLOW_SECONDS else own.ok(what, **data)


def count_due(look: Look, queue: str) -> int:
    """Each priority is one range of the index, read up to the bound."""
    due = Timer.objects.using(look.using).due().filter(queue=queue)
    ranges = (due.filter(priority=priority).order_by("due_at").values("pk") for priority in Priority)
    return min(sum(rows[:MOST_COUNTED].count() for rows in ranges), MOST_COUNTED)


def find_unread(look: Look, with_due: set[str], in_use: list[str]) -> Iterator[Finding]:
    lost = [queue for queue in in_use if look.workers and not look.readers_of(queue)]
    unknown = [queue for queue in in_use if queue not in known_queues() and queue not in lost]
    for queue in lost:
        what = f"Queue {queue!r} holds open executions, and none of the {len(look.workers)} workers reads it."
        found = UNREAD_QUEUE.alarm if queue in with_due else UNREAD_QUEUE.warn
        yield found(what, queue=queue)
    for queue in unknown:
        what = f"Queue {queue!r} holds open executions, and neither DURABLE['QUEUES'] nor a workflow here names it."
        yield UNREAD_QUEUE.warn(what, queue=queue)
    if not lost and not unknown:
        yield UNREAD_QUEUE.ok("None.", queues=in_use)


def find_deliveries(look: Look) -> Iterator[Finding]:
    deliveries = Delivery.objects.using(look.using)
    late = [
        oldest
        for queue in {*queues_in_use(look), *known_queues()}
        if (oldest := deliveries.due().filter(queue=queue).order_by("due_at").values_list("due_at", "queue").first())
    ]
    if late:
        due_at, queue = min(late)
        assert due_at is not None  # what is due has a time
        age = max(look.seconds_since(due_at), 0.0)
        what = f"The oldest event has been waiting for its receiver for {duration(age)}, on queue {queue!r}."
        yield _graded(BACKLOG.code, age, what, {"queue": queue, "age_seconds": age})
    else:
        yield BACKLOG.ok("None is due.", age_seconds=0.0)
    failed = list(
        deliveries.filter(status=DeliveryStatus.FAILED).order_by("-id")[:MOST_ROWS].values_list("id", "receiver")
    )
    if not failed:
        yield FAILED_DELIVERIES.ok("None.", count=0)
        return
    receivers = sorted({receiver for _, receiver in failed})
    yield FAILED_DELIVERIES.warn(
        f"{at_least(len(failed), MOST_ROWS)} have failed for good, of receivers {', '.join(receivers[:10])}.",
        count=len(failed),
        examples=[str(pk) for pk, _ in failed[:MOST_EXAMPLES]],
    )
