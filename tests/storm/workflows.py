"""What the storm's workers can run: the programs of the ledger, and one to be stopped in."""

import time

from django_durable import Context, current_step, on_event, step, workflow
from django_durable.engine import holders
from django_durable.models import Timer
from tests.ledger_app import programs, receivers  # noqa: F401
from tests.storm.models import LateRow

WRITES = 3
on_event(receivers.EVENT)(receivers.hears)


@step(atomic=True)
def write_late(seconds: float) -> None:
    """Whoever is stopped in here and comes back too late is ahead of its successor: only the fence stops it."""
    time.sleep(seconds)
    info = current_step()
    holder = Timer.objects.filter(pk=info.execution_id).values_list("holder", flat=True).first()
    rightful = holder == holders.this_process()
    LateRow.objects.create(execution_id=info.execution_id, step=info.step_id, rightful=rightful)


@workflow("storm.late_writes")
def late_writes(ctx: Context, seconds: float) -> None:
    for number in range(WRITES):
        ctx.step(f"write-{number}", write_late, seconds)
