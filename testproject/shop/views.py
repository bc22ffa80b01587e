"""The shop's pages. Every view that changes something works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from django_durable import ExecutionClosedError, client
from testproject.shop import board, worker_control
from testproject.shop.forms import BehaviourForm, OrderForm
from testproject.shop.models import Order, PaymentBehaviour, Product
from testproject.shop.workflows import Decision, approved, fulfil


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


@require_POST
def decide(request: HttpRequest, order_id: int, accepted: bool) -> HttpResponse:
    """Tell the waiting execution what was decided; the row id makes a second click harmless."""
    order = get_object_or_404(Order, pk=order_id)
    execution = client.find(workflow=fulfil.name, key=order.execution_key).first()
    if execution is None:
        raise Http404(f"{order} has no execution.")
    by = request.user.get_username() or "the shop's owner"
    try:
        client.signal(execution, approved, Decision(by=by, accepted=accepted), signal_id="decision")
        messages.success(request, f"{order} was {'approved' if accepted else 'rejected'}.")
    except ExecutionClosedError:
        messages.error(request, f"{order} is finished already.")
    return redirect("shop:index")


@require_GET
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """The parts of the page that change, as HTML by element id, and the same facts for programs."""
    shown = board.rows()
    parts = {f"order-{row.order.pk}": render_to_string("shop/row.html", {"row": row}) for row in shown}
    side = render_to_string("shop/side.html", _side())
    facts = [
        {"order": row.order.pk, "status": row.order.status, "state": row.state, "pid": row.pid, "detail": row.detail}
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


def _side() -> dict[str, object]:
    return {
        "products": Product.objects.order_by("name"),
        "onboarding": board.onboarding(),
        "trouble": PaymentBehaviour.load(),
        "clock": timezone.now(),
    }
