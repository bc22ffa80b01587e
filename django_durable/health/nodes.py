"""Ticks and workers: who has said lately that it is there."""

from __future__ import annotations

from collections.abc import Iterator

from django_durable.engine.presence import SAY_SECONDS, SILENT_SECONDS
from django_durable.health.findings import Finding, kind
from django_durable.health.look import MOST_ROWS, Look, duration
from django_durable.models import Node, NodeKind, Timer

LATE_SECONDS = 3 * SAY_SECONDS

TICK = kind(
    "tick",
    "How long ago was the last tick?",
    warning=f"the last one was noted more than {LATE_SECONDS:.0f} s ago",
    critical=f"none in {SILENT_SECONDS:.0f} s: sleeps, time-outs and retries do not end, lost messages stay lost",
    fix="Run `celery beat` with the entry of `django_durable.beat`, or `manage.py durable_tick --every 1`. If beat "
    "runs: does a worker read Celery's default queue, where the tick goes?",
)
WORKERS = kind(
    "workers",
    "Which workers are there?",
    warning="none, and nothing is open",
    critical="none, and executions are open",
    fix="Start a Celery worker, or `manage.py durable_worker`. One that runs is silent if it cannot write to this "
    "database: its log says so.",
)
VERSIONS = kind(
    "versions",
    "Do all workers run the same version of this package?",
    warning="they do not",
    fix="Finish the deploy: restart the workers that run the older version.",
)


def find_tick(look: Look) -> Iterator[Finding]:
    ticks = list(Node.objects.using(look.using).filter(kind=NodeKind.TICK).order_by("-seen_at")[:MOST_ROWS])
    if not ticks:
        yield TICK.alarm("No tick has been seen.", age_seconds=None, hosts=[])
        return
    age = max(look.seconds_since(ticks[0].seen_at), 0.0)
    hosts = [node.name for node in ticks if look.seconds_since(node.seen_at) <= SILENT_SECONDS]
    what = f"The last tick was noted {duration(age)} ago, by {ticks[0].source} on {ticks[0].name}."
    if age > SILENT_SECONDS:
        yield TICK.alarm(what, age_seconds=age, hosts=hosts)
    elif age > LATE_SECONDS:
        yield TICK.warn(what, age_seconds=age, hosts=hosts)
    else:
        yield TICK.ok(f"{what} Hosts that tick: {', '.join(sorted(hosts))}.", age_seconds=age, hosts=hosts)


def find_workers(look: Look) -> Iterator[Finding]:
    if look.workers:
        names = ", ".join(f"{node.name} ({node.source}, reads {', '.join(node.queues)})" for node in look.workers[:10])
        yield WORKERS.ok(f"{len(look.workers)} seen: {names}.", count=len(look.workers))
    elif Timer.objects.using(look.using).order_by("queue").values("queue")[:1]:  # by the index; dead rows cost nothing
        yield WORKERS.alarm(f"No worker was seen in the last {SILENT_SECONDS:.0f} s; executions are open.", count=0)
    else:
        yield WORKERS.warn(f"No worker was seen in the last {SILENT_SECONDS:.0f} s; nothing is open.", count=0)


def find_versions(look: Look) -> Iterator[Finding]:
    versions = sorted({node.version for node in look.workers})
    told = ", ".join(versions)
    if len(versions) > 1:
        yield VERSIONS.warn(f"Workers run different versions of django-durable: {told}.", versions=versions)
    else:
        yield VERSIONS.ok(f"All workers run {told}." if told else "No worker to compare.", versions=versions)
