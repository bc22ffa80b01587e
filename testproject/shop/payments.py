"""The shop's client of the payment service: plain HTTP, one idempotency key per charge."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.conf import settings

ANSWER_SECONDS = 20


class CardDeclined(Exception):
    """The bank said no. Trying again would not help."""


class PaymentUnavailable(Exception):
    """The service could not answer. Trying again may help, with the same idempotency key."""


def charge(reference: str, amount: Decimal, idempotency_key: str) -> str:
    """Charge once per idempotency key, however often it is called; returns the charge's id."""
    answer = _post("charges/", {"reference": reference, "amount": str(amount)}, idempotency_key)
    return str(answer["charge_id"])


def refund(charge_id: str) -> None:
    """Pay back in full; a second time changes nothing."""
    _post("refunds/", {"charge_id": charge_id}, idempotency_key=charge_id)


def _post(path: str, body: dict[str, str], idempotency_key: str) -> Any:
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
    request = Request(settings.PAYMENT_URL + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own setting
    try:
        with urlopen(request, timeout=ANSWER_SECONDS) as response:  # noqa: S310
            return json.load(response)
    except HTTPError as error:
        with error:
            text = _reason(error.read())
        if error.code == 402:
            raise CardDeclined(text) from None
        raise PaymentUnavailable(f"the payment service answered {error.code}: {text}") from None
    except OSError as error:  # refused, reset or timed out
        raise PaymentUnavailable(f"the payment service did not answer: {error}") from None


def _reason(answer: bytes) -> str:
    """What the service says; a proxy in between may say it in HTML."""
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")
