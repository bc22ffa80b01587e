"""What the storm's workers can run: the programs of the ledger, and some that only a storm has a use for."""

import time
from datetime import timedelta

from django_durable import Context, Limit, Retention, current_step, on_event, step, workflow
from django_durable.engine import holders
from django_durable.models import Timer
from tests.ledger_app import ledger, programs, receivers
from tests.storm import seats
from tests.storm.mercy import has_mercy
from tests.storm.models import LateRow

WRITES = 3
SEATS = 2  # of everybody; of each shelf one
BODY_SECONDS = 0.01
KEPT = timedelta(seconds=1)  # after its end, what is brief
BRIEF = Retention(completed=KEPT, continued=KEPT)
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


# -- limits --------------------------------------------------------------------------------------------


@programs.witnessed()
def sit(room: str, capacity: int) -> None:
    programs.effect()
    for _ in range(2):
        seats.tell(ledger.current(), current_step().execution_id, room=room, capacity=capacity)
        time.sleep(BODY_SECONDS)


@workflow("storm.seated", concurrency=Limit(SEATS))
def seated(ctx: Context) -> None:
    """It keeps its slot while it rests between its bodies."""
    ctx.step("one", sit, "everybody", SEATS)
    ctx.sleep(0.2)
    ctx.step("two", sit, "everybody", SEATS)


@workflow("storm.shelved", concurrency=Limit(1, key=lambda shelf: shelf))
def shelved(ctx: Context, shelf: str) -> None:
    ctx.step("one", sit, f"shelf {shelf}", 1)
    ctx.step("row", programs.insert_row)
    ctx.step("two", sit, f"shelf {shelf}", 1)


# -- what is started, kept and helped in ways of its own -----------------------------------------------


@workflow("storm.coalesced")
def coalesced(ctx: Context, key: str, number: int) -> int:
    """Shows which of the starts that it has joined it runs for."""
    programs.seen(ctx, "number", number)
    return ctx.step(programs.append, number)


@workflow("storm.brief_item", retention=BRIEF)
def brief_item(ctx: Context, number: int) -> int:
    return ctx.step(programs.insert_row) and number


@workflow("storm.brief", retention=BRIEF)
def brief(ctx: Context, rounds: int) -> None:
    """Has all that a prune must be careful with: children, a chain, events that are yet to be delivered."""
    ctx.step(programs.append)
    ctx.map(brief_item, [1, 2])
    ctx.call(brief_item, 3)
    ctx.emit(receivers.EVENT, {"number": rounds})
    if rounds:
        ctx.continue_as_new(rounds - 1)


@programs.witnessed(raises=(programs.Refused,))
def fail_without_mercy() -> None:
    programs.effect()
    if not has_mercy(ledger.current(), current_step().execution_id):
        raise programs.Refused("not before an operator says so")


@workflow("storm.failing")
def failing(ctx: Context) -> None:
    """Fails, and completes once it is retried: what it did before stays done, what it undid is done again."""
    ctx.step(programs.append)
    ctx.step("row", programs.insert_row, compensate=programs.undo_row)
    ctx.step(fail_without_mercy)
    ctx.step("after", programs.append, "retried")
