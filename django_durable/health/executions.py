"""Executions that need a person: stuck, without a worker that has their code, retrying for long, not undone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from django_durable.definitions import registry
from django_durable.health.findings import Finding, kind
from django_durable.health.look import MOST_EXAMPLES, MOST_ROWS, Look, at_least, duration
from django_durable.models import CLOSED, Execution, Status, Step, StepStatus, StuckReason

RETRYING_LONG_SECONDS = 3600.0
RECENT_DAYS = 7
MOST_HISTORIES = 50  # whose steps are looked at, however long they are

STUCK = kind(
    "stuck",
    "Which executions cannot go on, and why?",
    warning="there are some",
    critical="a compensation has given up: something is half undone",
    fix="See the docs page of the reason.",
)
NO_WORKER_FOR = kind(
    "no_worker_for",
    "Which open executions have code that no worker has?",
    warning="no worker has said what it knows, and this process does not know it",
    critical="workers are there, and none knows it",
    fix="Deploy workers with the old function registered until these have ended, or terminate them.",
)
RETRYING = kind(
    "retrying",
    "Which executions have been retrying a step for long?",
    warning=f"some for more than {RETRYING_LONG_SECONDS / 3600:.0f} h",
    fix="Look at the error of the open step: `client.inspect(id).history[-1].error`, or the admin. Mend the service "
    "that it calls, or cancel the execution.",
)
COMPENSATION_FAILED = kind(
    "compensation_failed",
    "Which executions have ended lately without being undone as a whole?",
    warning=f"some in the last {RECENT_DAYS} days",
    fix="A compensation was skipped: make sure by hand that nothing is left over. The audit entries say who decided.",
)

_REASONS = {
    StuckReason.NONDETERMINISM: "The code does not fit the history: deploy code that does (`manage.py durable_replay` "
    "tells the difference); it then goes on by itself.",
    StuckReason.NO_WORKER: "Deploy a worker that registers this workflow and version; it then goes on by itself.",
    StuckReason.POISON: "It killed its workers again and again: look for out-of-memory kills, mend the step and "
    "deploy; terminate it if it cannot be saved.",
    StuckReason.COMPENSATION: "Decide: `client.retry_compensation`, `resolve_compensation` or `skip_compensation`.",
    StuckReason.HISTORY: "Its history is too long: let the workflow use `ctx.continue_as_new`, or raise "
    "DURABLE['HISTORY_LIMIT'].",
}


def find_stuck(look: Look) -> Iterator[Finding]:
    """One finding for each reason."""
    rows = Execution.objects.using(look.using).stuck().order_by("-created_at")
    by_reason = defaultdict(list)
    for pk, reason, workflow in rows.values_list("id", "stuck_reason", "workflow")[:MOST_ROWS]:
        by_reason[reason].append((str(pk), workflow))
    for reason, found in sorted(by_reason.items()):
        is_worst = reason == StuckReason.COMPENSATION
        workflows = sorted({workflow for _, workflow in found})
        grade = STUCK.alarm if is_worst else STUCK.warn
        yield grade(
            f"{at_least(len(found), MOST_ROWS)} stuck: {reason}; of {', '.join(workflows[:5])}.",
            fix=_REASONS.get(StuckReason(reason), "") if reason in StuckReason.values else "",
            reason=reason,
            count=len(found),
            examples=[pk for pk, _ in found[:MOST_EXAMPLES]],
        )
    if not by_reason:
        yield STUCK.ok("None.", count=0)


def find_no_worker(look: Look) -> Iterator[Finding]:
    """Among the oldest open executions of each status: code that is gone has the oldest ones."""
    executions = Execution.objects.using(look.using)
    found: dict[tuple[str, int], str] = {}
    for status in sorted(set(Status) - CLOSED - {Status.RUNNING}):
        oldest = executions.filter(status=status).order_by("created_at")[:MOST_ROWS]
        for pk, name, version in oldest.values_list("id", "workflow", "version"):
            found.setdefault((name, version), str(pk))
    lost = {code: example for code, example in sorted(found.items()) if not _is_known(look, *code)}
    for (name, version), example in lost.items():
        grade = NO_WORKER_FOR.alarm if look.workers else NO_WORKER_FOR.warn
        who = f"none of the {len(look.workers)} workers" if look.workers else "this process does not, and no worker,"
        yield grade(
            f"Open executions of {name!r} version {version}: {who} registers it.",
            workflow=name,
            version=version,
            examples=[example],
        )
    if not lost:
        yield NO_WORKER_FOR.ok(f"{len(found)} workflows have open executions; all are known.", workflows=len(found))


def _is_known(look: Look, name: str, version: int) -> bool:
    if look.workers:
        return any(node.knows(name, version) for node in look.workers)
    return registry.knows(name, version)


def find_retrying(look: Look) -> Iterator[Finding]:
    executions = Execution.objects.using(look.using).filter(status=Status.RETRYING)
    oldest = list(executions.order_by("created_at").values_list("id", flat=True)[:MOST_HISTORIES])
    since = look.now - timedelta(seconds=RETRYING_LONG_SECONDS)
    steps = Step.objects.using(look.using).filter(execution_id__in=oldest, status=StepStatus.RETRYING)
    rows = list(
        steps.filter(started_at__lt=since).order_by("started_at").values_list("started_at", "execution_id", "name")
    )
    if not rows:
        yield RETRYING.ok(f"{at_least(len(oldest), MOST_HISTORIES)} retry, none for long.", count=0)
        return
    age = look.seconds_since(rows[0][0])
    many = at_least(len(rows), MOST_HISTORIES)
    yield RETRYING.warn(
        f"{many} have retried for more than an hour, the longest (step {rows[0][2]!r}) for {duration(age)}.",
        count=len(rows),
        age_seconds=age,
        examples=[str(row[1]) for row in rows[:MOST_EXAMPLES]],
    )


def find_compensation_failed(look: Look) -> Iterator[Finding]:
    recent = Execution.objects.using(look.using).filter(
        status=Status.COMPENSATION_FAILED, created_at__gt=look.now - timedelta(days=RECENT_DAYS)
    )
    ids = list(recent.order_by("-created_at").values_list("id", flat=True)[:MOST_ROWS])
    if not ids:
        yield COMPENSATION_FAILED.ok("None.", count=0)
        return
    yield COMPENSATION_FAILED.warn(
        f"{at_least(len(ids), MOST_ROWS)} executions of the last {RECENT_DAYS} days were not undone as a whole.",
        count=len(ids),
        examples=[str(pk) for pk in ids[:MOST_EXAMPLES]],
    )
