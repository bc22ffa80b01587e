"""The shop's pages. Every view that changes something works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from django_durable import (
    ExecutionClosedError,
    ExecutionNotFoundError,
    ResultTimeoutError,
    SignalType,
    TokenError,
    UpdateFailed,
    client,
)
from django_durable.models import Execution
from testproject.shop import board, worker_control
from testproject.shop.forms import BehaviourForm, NoteForm, OrderForm
from testproject.shop.models import Order, PaymentBehaviour, Product
from testproject.shop.workflows import fulfil, stock
from testproject.shop.workflows.orders import Decision, approved, withdrawn

UPDATE_SECONDS = 8


@require_GET
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    return _page(request, OrderForm(label_suffix=""))


@require_POST
def create_order(request: HttpRequest) -> HttpResponse:
    """The order and its execution: both are there after the commit, or neither is."""
    form = OrderForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _page(request, form, status=400)
    with transaction.atomic():
        order = form.save()
        fulfil.using(key=order.execution_key, subject=order).start(order.pk)
    messages.success(request, f"{order} is on its way.")
    return redirect("shop:index")


@require_GET
@never_cache
def show_order(request: HttpRequest, order_id: int) -> HttpResponse:
    """One order with its parcels and papers, and what its customer may still change."""
    return _order_page(request, get_object_or_404(Order, pk=order_id), NoteForm(label_suffix=""))


@require_POST
def leave_note(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask the execution to take a note, and show what it answers."""
    order = get_object_or_404(Order, pk=order_id)
    form = NoteForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _order_page(request, order, form, status=400)
    try:
        messages.success(request, _update(order, "leave_note", form.cleaned_data["note"]))
    except ValueError as refused:
        form.add_error("note", str(refused))
        return _order_page(request, order, form, status=400)
    return redirect("shop:order", order_id)


def _update(order: Order, name: str, payload: str) -> str:
    """What the order's execution answers. Raises ValueError with its reason if it refuses, or cannot answer now."""
    try:
        answer: str = client.update(_execution_of(order), name, payload, timeout=UPDATE_SECONDS)
    except UpdateFailed as failed:
        raise ValueError(f"Refused: {failed.message}.") from failed
    except ExecutionClosedError:
        raise ValueError(f"{order} is finished already.") from None
    except ResultTimeoutError:
        raise ValueError("No worker has answered yet; the note is kept and will be considered.") from None
    return answer


@require_POST
def withdraw(request: HttpRequest, order_id: int) -> HttpResponse:
    order = get_object_or_404(Order, pk=order_id)
    _signal(request, order, withdrawn, None, f"{order} is withdrawn, unless it is being packed already.")
    return redirect("shop:order", order_id)


@require_POST
def decide(request: HttpRequest, order_id: int, accepted: bool) -> HttpResponse:
    """Tell the waiting execution what was decided; the signal's id makes a second click harmless."""
    order = get_object_or_404(Order, pk=order_id)
    by = request.user.get_username() or "the shop's owner"
    text = f"{order} was {'approved' if accepted else 'rejected'}."
    _signal(request, order, approved, Decision(by=by, accepted=accepted), text)
    return redirect("shop:index")


def _signal(request: HttpRequest, order: Order, signal: SignalType[Any], payload: object, done: str) -> None:
    try:
        client.signal(_execution_of(order), signal, payload, signal_id=signal.name)
        messages.success(request, done)
    except ExecutionClosedError:
        messages.error(request, f"{order} is finished already.")


@sensitive_variables("token")
@require_http_methods(["GET", "POST"])
@never_cache
def decide_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """The link of the mail to the shop keeper. It only asks; the form acts, once."""
    try:
        execution = client.get_by_token(token, approved)
        context = {"order": _order_of(execution), "is_open": client.query(execution, "progress").needs_decision}
        if request.method == "POST" and context["is_open"]:
            decision = Decision(by="the link in the mail", accepted=request.POST.get("answer") == "approve")
            client.signal_by_token(token, approved, decision)
            context["decision"] = decision
        return render(request, "shop/decide.html", context)
    except (TokenError, ExecutionNotFoundError, ExecutionClosedError):  # one answer: tell strangers no more
        return render(request, "shop/decide.html", status=404)


@require_POST
def restock(request: HttpRequest) -> HttpResponse:
    """Wake the stock watch before the night, or start it."""
    client.signal_with_start(stock.watch.using(key=stock.KEY).prepare(), stock.look_now)
    messages.success(request, "What runs low is being ordered.")
    return redirect("shop:index")


@require_GET
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """The parts of the page that change, as HTML by element id, and the same facts for programs."""
    shown = board.rows()
    parts = {f"order-{row.order.pk}": render_to_string("shop/row.html", {"row": row}) for row in shown}
    side = render_to_string("shop/side.html", _side())
    facts = [
        {
            "order": row.order.pk,
            "status": row.order.status,
            "state": row.state,
            "phase": row.phase,
            "pid": row.pid,
            "detail": row.detail,
        }
        for row in shown
    ]
    return JsonResponse({"rows": parts, "side": side, "orders": facts})


@require_POST
def misbehave(request: HttpRequest) -> HttpResponse:
    """Say what goes wrong at the payment service next."""
    form = BehaviourForm(request.POST, instance=PaymentBehaviour.load(), label_suffix="")
    if not form.is_valid():
        return _page(request, OrderForm(label_suffix=""), behaviour=form, status=400)
    form.save()
    messages.success(request, "The payment service will do as you say.")
    return redirect("shop:index")


@require_POST
def kill(request: HttpRequest) -> HttpResponse:
    """SIGKILL, without a word of warning, to a busy process (``pid`` says which) or to the whole worker."""
    if not getattr(settings, "DEMO", False):
        raise Http404("Killing workers is for the demo.")
    pid = request.POST.get("pid", "")
    strike: Callable[[], str] = worker_control.kill_worker
    if request.POST.get("what") != "worker":
        strike = lambda: worker_control.kill_busy(int(pid) if pid.isdigit() else None)  # noqa: E731
    try:
        messages.warning(request, strike())
    except worker_control.NothingToKill as nothing:
        messages.error(request, str(nothing))
    return redirect("shop:index")


def _page(
    request: HttpRequest, form: OrderForm, *, behaviour: BehaviourForm | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "rows": board.rows(),
        "form": form,
        "behaviour": behaviour or BehaviourForm(instance=PaymentBehaviour.load(), label_suffix=""),
        "demo": getattr(settings, "DEMO", False),
        **_side(),
    }
    return render(request, "shop/index.html", context, status=status)


def _order_page(request: HttpRequest, order: Order, form: NoteForm, *, status: int = 200) -> HttpResponse:
    context = {"row": board.row_of(order), "order": order, "form": form}
    return render(request, "shop/order.html", context, status=status)


def _execution_of(order: Order) -> Execution:
    """Raises Http404 if there is none."""
    execution = client.find(workflow=fulfil.name, key=order.execution_key).first()
    if execution is None:
        raise Http404(f"{order} has no execution.")
    return execution


def _order_of(execution: Execution) -> Order:
    return get_object_or_404(Order.objects.select_related("customer", "product"), pk=execution.subject_id)


def _side() -> dict[str, object]:
    return {
        "products": Product.objects.order_by("name"),
        "onboarding": board.onboarding(),
        "trouble": PaymentBehaviour.load(),
        "clock": timezone.now(),
    }
