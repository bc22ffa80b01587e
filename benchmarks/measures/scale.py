"""Whether a claim and a tick notice how many executions sleep."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from benchmarks import copies, crowd, database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures import twins
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable.models import Execution, Status, Timer

DUE = {  # within a month, from tomorrow
    "postgresql": "now() + interval '1 day' * (1 + 29 * random())",
    "mysql": "UTC_TIMESTAMP(6) + INTERVAL (86400 + FLOOR(RAND() * 2500000)) SECOND",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '+' || (86400 + abs(random()) % 2500000) || ' seconds')",
}


@without_hints
def scale(size: Size) -> list[Figure]:
    """The same probes with more and more sleepers, beside those of a twin that has none."""
    database.clear()
    twins.prepare()
    template = workflows.sleeping.using(delay=3600).start(1.0).id
    figures = []
    for sleepers in size.sleepers:
        _fall_asleep(template, sleepers)
        for name, (found, empty) in twins.probe(size.probes).items():
            title = f"{name}, {sleepers:,} asleep"
            figures.append(Figure(title, "us", found, empty, Target(1.2, at_most=True)))
    database.clear()
    return figures


def _fall_asleep(template: UUID, wanted: int) -> None:
    """Copy one delayed execution, twice as many each time, then their timers; in SQL, a million takes a minute."""
    Execution.objects.filter(pk=template).update(status=Status.SLEEPING)
    while (missing := wanted - Execution.objects.count()) > 0:
        copies.copy(Execution, {"id": copies.new_id()}, f"LIMIT {missing}")
    executions = connection.ops.quote_name(Execution._meta.db_table)
    timers = connection.ops.quote_name(Timer._meta.db_table)
    sleepless = f"(SELECT id AS sleeper FROM {executions} WHERE id NOT IN (SELECT execution_id FROM {timers})) s"
    one = f"{timers}.execution_id = {copies.literal(template)}"
    copies.copy(
        Timer, {"execution_id": "s.sleeper", "due_at": DUE[connection.vendor]}, f"WHERE {one}", f", {sleepless}"
    )
    crowd.analyze(Execution, Timer)
