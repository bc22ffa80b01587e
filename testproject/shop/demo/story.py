"""The story of the demo without a browser: orders, two kills, one decline, and a look at the books at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from testproject.shop.demo.processes import Supervisor
from testproject.shop.demo.shopper import Shopper
from testproject.shop.models import Order, Paper, Parcel, PaymentRecord, Product, StockReservation

T = TypeVar("T")
# For everything; what is started before and stopped after comes on top.
LIMIT_SECONDS = float(os.environ.get("DURABLE_DEMO_LIMIT_SECONDS", "75"))
SLOW_SECONDS = 6.0
NOTE = "Mind the cat"


class StoryFailed(Exception):
    """It did not end well; the text says where."""


class Story:
    """Plays it once. The books are checked in the database, everything else goes through the pages."""

    def __init__(self, shopper: Shopper, supervisor: Supervisor, tell: Callable[[str], None]) -> None:
        self.shopper, self.supervisor, self.tell = shopper, supervisor, tell
        self._ends_at = time.monotonic() + LIMIT_SECONDS
        self._stock = dict(Product.objects.values_list("pk", "stock"))
        self._names = ["Ada", "Barbara", "Edsger", "Donald", "Niklaus"]

    def play(self) -> None:
        self._wait(self.shopper.is_open, "the shop to open", pause=0.2)
        self.tell("the shop is open")
        self._kill(self._buy_slowly(2), whole_worker=False)
        self._buy_from_failing_service()
        self._kill(self._buy_slowly(1), whole_worker=True)
        self._buy_with_bad_card()
        self._approve_all()
        self._check_books()

    def _buy_slowly(self, count: int) -> int:
        """No more orders than the worker has processes, so that the first is being paid at once."""
        self.shopper.make_payments(slow_seconds=SLOW_SECONDS)
        bought = [self._buy() for _ in range(count)]
        named = " and ".join(f"order {order_id}" for order_id in bought)
        self.tell(f"{named} created; the payment service takes {SLOW_SECONDS:.0f} s to answer")
        return bought[0]

    def _buy_from_failing_service(self) -> None:
        self.shopper.make_payments(fail_next=2)
        order_id = self._buy()
        self._wait(lambda: self._state(order_id) == "waiting", f"order {order_id} to wait for its approval")
        self.tell(f"order {order_id} was paid at the third attempt, the payment service had failed twice")

    def _kill(self, order_id: int, *, whole_worker: bool) -> None:
        """Strike while the charge is booked and not yet answered, the worst moment there is."""
        pid = self._wait(lambda: self._paying(order_id), f"order {order_id} to be inside its payment")
        killed_at = time.monotonic()
        if whole_worker:
            self.shopper.kill_worker()
            self.tell(f"SIGKILL to the whole worker; process {pid} was paying order {order_id}")
        else:
            self.shopper.kill_process(pid)
            self.tell(f"SIGKILL to process {pid}, which was paying order {order_id}")
        self.shopper.make_payments()
        again = self._wait(lambda: self._taken_over(order_id, pid), f"order {order_id} to go on")
        self.tell(f"order {order_id} goes on {again - killed_at:.1f} s after the kill")
        self._wait(lambda: self._state(order_id) == "waiting", f"order {order_id} to wait for its approval")
        self.tell(f"order {order_id} is paid, and waits for its approval")

    def _buy_with_bad_card(self) -> None:
        self.shopper.make_payments(decline_next=1)
        order_id = self._buy()
        self._wait(lambda: self._state(order_id) == "completed", f"order {order_id} to be declined")
        self.tell(f"order {order_id} was declined, its stock is back")

    def _approve_all(self) -> None:
        wanted = list(Order.objects.exclude(status=Order.Status.CANCELLED).values_list("pk", flat=True))
        self.shopper.leave_note(min(wanted), NOTE)
        self.tell(f"order {min(wanted)} has taken a note to the carrier")
        for order_id in sorted(wanted):
            self._wait(lambda: self._row(order_id)["phase"] == "approval", f"order {order_id} to wait")  # noqa: B023
            self.shopper.approve(order_id)
        self.tell(f"orders {', '.join(map(str, sorted(wanted)))} approved")
        self._wait(lambda: all(o["state"] == "completed" for o in self.shopper.orders()), "all orders to end")
        self.tell("every order has ended")
        self._wait(lambda: _mails("Subject: Order") == len(wanted), "the mails to the customers")

    def _check_books(self) -> None:
        """Each order shipped, paid, mailed and taken from stock exactly once; the declined one not at all."""
        orders = list(Order.objects.order_by("pk"))
        shipped = [order for order in orders if order.status == Order.Status.SHIPPED]
        declined = [order for order in orders if order.status == Order.Status.CANCELLED]
        _demand((len(shipped), len(declined)) == (4, 1), f"{len(shipped)} shipped, {len(declined)} cancelled")
        for order in orders:
            is_shipped, count = order in shipped, PaymentRecord.objects.filter(reference=f"order-{order.pk}").count()
            _demand(count == int(is_shipped), f"{order} has {count} payments")
            mails = _mails(f"Subject: Order {order.pk} has shipped")
            _demand(mails == int(is_shipped), f"{order} has {mails} shipping mails")
            reserved = StockReservation.objects.filter(order=order).count()
            _demand(reserved == int(is_shipped), f"{order} has {reserved} reservations")
            sent = sum(Parcel.objects.filter(order=order, sent_at__isnull=False).values_list("pieces", flat=True))
            notes = set(Parcel.objects.filter(order=order).values_list("note", flat=True))
            _demand(order != orders[0] or notes == {NOTE}, f"the parcels of {order} say {notes}")
            _demand(sent == order.quantity * is_shipped, f"{order} has {sent} pieces in its parcels")
            papers = Paper.objects.filter(order=order).count()
            _demand(papers == 2 * is_shipped, f"{order} has {papers} papers")
            self._stock[order.product_id] -= order.quantity if is_shipped else 0
        _demand(dict(Product.objects.values_list("pk", "stock")) == self._stock, "the stock is not what it should be")
        self.tell(
            "books: 4 orders shipped, each paid, taken from stock, packed and mailed exactly once; 1 declined, unpaid"
        )

    def _buy(self) -> int:
        number = Order.objects.count()
        products = sorted(self._stock)
        self.shopper.buy(self._names[number], products[number % len(products)], quantity=1 + number % 3)
        return Order.objects.latest("pk").pk

    def _row(self, order_id: int) -> dict[str, object]:
        return next(row for row in self.shopper.orders() if row["order"] == order_id)

    def _state(self, order_id: int) -> object:
        return self._row(order_id)["state"]

    def _paying(self, order_id: int) -> int:
        """The process that waits for the answer to a charge that is booked; 0 while there is none."""
        pid = self._row(order_id)["pid"]
        booked = PaymentRecord.objects.filter(reference=f"order-{order_id}").exists()
        return pid if booked and isinstance(pid, int) else 0

    def _taken_over(self, order_id: int, dead: int) -> float:
        """When a living process had it again, or had brought it further already; 0 while neither is so."""
        row = self._row(order_id)
        is_on = row["pid"] not in {None, dead} or row["state"] in {"retrying", "waiting"}
        return time.monotonic() if is_on else 0

    def _wait(self, ready: Callable[[], T], what: str, *, pause: float = 0.05) -> T:
        """Its first true answer. Raises StoryFailed when the story's time is over."""
        while True:
            self.supervisor.look()
            answer = ready()
            if answer:
                return answer
            if time.monotonic() > self._ends_at:
                raise StoryFailed(f"waited in vain for {what}")
            time.sleep(pause)


def _mails(line: str) -> int:
    # Not of files: Django's backend may write two mails of one second into one.
    return sum(path.read_text(encoding="utf-8").count(line) for path in (settings.DEMO_DIR / "mail").glob("*.log"))


def _demand(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise StoryFailed(otherwise)
