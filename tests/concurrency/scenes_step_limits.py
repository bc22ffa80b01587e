"""What meets what at the limit of a step, and at one that is lent: who asks, gives back, parks, dies or is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import advance, claims, gate, payloads, slots, step_limits, transitions
from django_durable.engine.claims import Claim
from django_durable.engine.outcomes import Park
from django_durable.limits import Wanted
from django_durable.models import Execution, Slot, Status, Timer
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import Outcomes, Scene
from tests.ledger_app import limited

STEP = limited.by_turns.name
WANTED = limited.by_turns.wanted(("done",), {})
assert WANTED is not None


def _start(count: int) -> list[Any]:
    """The limit's row is there and nobody is left at it, so that every play makes the same calls."""
    Execution.objects.filter(workflow__in=["ledger.step_by_turns", "ledger.lent"]).delete()
    Slot.objects.all().delete()
    slots.key_of(WANTED, using="default")
    return [limited.step_by_turns.start() for _ in range(count)]


def _claimed(run: Any) -> Claim:
    claim = claims.take(run.id, using="default")
    assert claim is not None
    return claim


def _ask(run: Any) -> Act:
    """Ask for a slot and park without one, as a pass does; with one, leave the body to others."""
    claim = _claimed(run)
    execution = advance._load(claim)

    def ask() -> bool:
        known = claim.wake_seq
        if step_limits._take(claim, STEP, WANTED) is None:
            park = Park(opens=(), status=Status.WAITING, until=None, waiting_for=f"a slot of {WANTED}", wake_seq=known)
            if transitions.park(claim, execution, park):
                return False
        claim.timers().update(token=None, holder="", due_at=DatabaseNow())
        return True

    return ask


def _body(run: Any) -> Act:
    """The end of a body that holds a slot."""
    claim = _claimed(run)
    slot = step_limits._take(claim, STEP, WANTED)
    assert slot is not None

    def give_back() -> None:
        step_limits._give_back(claim, slot)
        claim.timers().update(token=None, holder="", due_at=DatabaseNow())

    return give_back


def _wait(run: Any) -> None:
    assert not _ask(run)()


def _scene(acts: dict[str, Act], runs: list[Any], ends: Iterable[str] = ("completed",)) -> Scene:
    def agree(_: Outcomes) -> Iterable[str]:
        held = Slot.objects.held().filter(execution__isnull=False)
        if held.count() > 1:
            yield f"more than one holds a slot: {list(held)}"
        if not held.exists() and Slot.objects.waiting().filter(execution__in=[run.id for run in runs]).exists():
            yield f"there is room and somebody waits: {list(Slot.objects.all())}"
        asleep = Timer.objects.filter(due_at=None, execution__slots__granted=True, execution__in=[r.id for r in runs])
        if asleep.exists():
            yield f"has a slot and nobody will look: {list(asleep)}"

    def settled(_: Outcomes) -> Iterable[str]:
        if Slot.objects.exists():
            yield f"slots are left: {list(Slot.objects.all())}"

    return Scene(acts, {*ends}, [run.id for run in runs], agree, settled)


def ask_x_ask() -> Scene:
    """One of them has the slot, the other waits."""
    runs = _start(2)
    return _scene({"worker": _ask(runs[0]), "other worker": _ask(runs[1])}, runs)


def give_back_x_ask() -> Scene:
    """The newcomer finds the slot, or is found, or cannot park."""
    runs = _start(2)
    return _scene({"worker": _body(runs[0]), "other worker": _ask(runs[1])}, runs)


def give_back_x_cancel() -> Scene:
    """The next in turn is cancelled while it is given the slot."""
    runs = _start(3)
    body = _body(runs[0])
    for run in runs[1:]:
        _wait(run)
    acts = {"worker": body, "canceller": lambda: client.cancel(runs[1])}
    return _scene(acts, runs, ("completed", "cancelled"))


def give_back_x_terminate() -> Scene:
    """The next in turn is terminated while it is given the slot: the one after it has it."""
    runs = _start(3)
    body = _body(runs[0])
    for run in runs[1:]:
        _wait(run)
    acts = {"worker": body, "operator": lambda: client.terminate(runs[1])}
    return _scene(acts, runs, ("completed", "terminated"))


def give_back_x_terminate_holder() -> Scene:
    """The holder is terminated while its body ends."""
    runs = _start(2)
    body = _body(runs[0])
    _wait(runs[1])
    acts = {"worker": body, "operator": lambda: client.terminate(runs[0])}
    scene = _scene(acts, runs, ("completed", "terminated"))
    scene.agree = lambda _: []  # whose body has ended too late gives nothing back; the tick does
    return scene


def mend_x_take_up() -> Scene:
    """The holder has died: the tick takes its slot back while its next pass takes it up; another waits."""
    runs = _start(2)
    _body(runs[0])
    _wait(runs[1])
    Timer.objects.filter(pk=runs[0].id).update(due_at=DatabaseNow() - timedelta(seconds=1))
    acts = {"worker": _ask(runs[0]), "tick": lambda: slots.mend(using="default")}
    return _scene(acts, runs)


def mend_x_give_back() -> Scene:
    """Its lease has run out, which the tick sees while the body ends after all."""
    runs = _start(2)
    body = _body(runs[0])
    _wait(runs[1])
    Timer.objects.filter(pk=runs[0].id).update(due_at=DatabaseNow() - timedelta(seconds=1))
    return _scene({"worker": body, "tick": lambda: slots.mend(using="default")}, runs)


# -- lent slots ----------------------------------------------------------------------------------------


def _lent(count: int) -> list[Any]:
    _start(0)
    rule = limited.lent.limits[0]
    slots.key_of(Wanted(rule, rule.stored_name(limited.lent.name), "key"), using="default")
    return [limited.lent.start("key", 0.0) for _ in range(count)]


def _at_the_gate(run: Any) -> tuple[Claim, Execution, Callable[[], bool]]:
    claim = _claimed(run)
    execution = advance._load(claim)
    return claim, execution, lambda: gate.admit(claim, execution, limited.lent, payloads.load(execution.input))


def _arrival(run: Any) -> Act:
    claim, _, admit = _at_the_gate(run)

    def arrive() -> bool:
        is_in = admit()
        if is_in:
            claim.timers().update(token=None, holder="", due_at=DatabaseNow())
        return is_in

    return arrive


def _lender(run: Any) -> Act:
    """Park with a slot, or leave it to others to go on."""
    claim, execution, admit = _at_the_gate(run)
    assert admit()
    until = claim.now()
    park = Park(opens=(), status=Status.SLEEPING, until=until, waiting_for="sleep", wake_seq=claim.wake_seq)

    def lend() -> None:
        if not transitions.park(claim, execution, park):
            claim.timers().update(token=None, holder="", due_at=DatabaseNow())

    return lend


def park_x_arrival() -> Scene:
    """One parks and lends its slot while another comes: that one is let in, or found."""
    runs = _lent(2)
    return _scene({"worker": _lender(runs[0]), "other worker": _arrival(runs[1])}, runs)


def park_x_signal() -> Scene:
    """News comes while it parks: it parks and is due, with no slot; or goes on, with its own."""
    runs = _lent(2)
    lender = _lender(runs[0])
    assert not _arrival(runs[1])()
    return _scene({"worker": lender, "sender": lambda: client.signal(runs[0], "news")}, runs)


PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "ask x ask for a step's slot": (ask_x_ask, 6),
}
SAMPLED: dict[str, Callable[[], Scene]] = {
    "give back x ask for a step's slot": give_back_x_ask,
    "give back x cancelled step": give_back_x_cancel,
    "give back x terminated step": give_back_x_terminate,
    "give back x terminated holder": give_back_x_terminate_holder,
    "mend x take up a step's slot": mend_x_take_up,
    "mend x give back a step's slot": mend_x_give_back,
    "lending park x arrival": park_x_arrival,
    "lending park x signal": park_x_signal,
}
