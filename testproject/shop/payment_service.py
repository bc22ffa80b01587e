"""The payment service: a stand-in for a real one, served by this project and reached only by HTTP.

It keeps the two promises that make at-least-once callers safe: the same idempotency key gets the same charge, and a
charge is booked before it is answered. Losing the answer (``slow_seconds`` makes that easy) loses no money.
"""

from __future__ import annotations

import json
import time
import uuid
from decimal import Decimal, InvalidOperation

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from testproject.shop.models import PaymentBehaviour, PaymentRecord


@csrf_exempt  # called by programs, not by browsers
@require_POST
def charges(request: HttpRequest) -> HttpResponse:
    """Book a charge; body ``{"reference": ..., "amount": "12.50"}``, header ``Idempotency-Key``."""
    key = request.headers.get("Idempotency-Key", "")
    try:
        body = json.loads(request.body)
        reference, amount = str(body["reference"]), Decimal(body["amount"])
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return _refusal(400, "send reference and amount as JSON")
    if not key:
        return _refusal(400, "send an Idempotency-Key")
    if PaymentBehaviour.use_up("fail_next"):
        return _refusal(503, "out of order")
    known = PaymentRecord.objects.filter(idempotency_key=key).first()
    if known is not None and (known.reference, known.amount) != (reference, amount):
        return _refusal(409, "this idempotency key belongs to another charge")
    if known is None and PaymentBehaviour.use_up("decline_next"):
        return _refusal(402, "card declined")
    booked, is_new = PaymentRecord.objects.get_or_create(
        idempotency_key=key,
        defaults={"reference": reference, "amount": amount, "charge_id": f"ch_{uuid.uuid4().hex[:16]}"},
    )
    time.sleep(PaymentBehaviour.load().slow_seconds)
    return JsonResponse({"charge_id": booked.charge_id}, status=201 if is_new else 200)


@csrf_exempt
@require_POST
def refunds(request: HttpRequest) -> HttpResponse:
    """Pay a charge back; body ``{"charge_id": ...}``."""
    try:
        charge_id = str(json.loads(request.body)["charge_id"])
    except (ValueError, KeyError, TypeError):
        return _refusal(400, "send charge_id as JSON")
    if not PaymentRecord.objects.filter(charge_id=charge_id).update(refunded=True):
        return _refusal(404, "no such charge")
    return JsonResponse({"charge_id": charge_id, "refunded": True})


def _refusal(status: int, text: str) -> JsonResponse:
    return JsonResponse({"error": text}, status=status)
