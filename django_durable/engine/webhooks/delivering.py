"""Sending what is due, endpoint by endpoint: one that fails holds up no other, and is left alone for a while."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from django_durable import clock, dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.engine import endings, leasing, shutdown
from django_durable.engine.audit import audit
from django_durable.engine.webhooks import endpoints, messages, routing, sending
from django_durable.exceptions import DeliveryConflict, WebhookError
from django_durable.models import WebhookDelivery, WebhookEndpoint
from django_durable.models.identity import new_id
from django_durable.models.webhook import WebhookEndpointQuerySet
from django_durable.retry import Retry

# 28 attempts within some four and a half days: a weekend should not need a person.
RETRY = Retry(max_attempts=28, initial_seconds=5, multiplier=3, maximum_seconds=6 * 3600, jitter=0.2)
PAUSES_SECONDS = (5.0, 300.0)  # of an endpoint after a failure: the first, doubling, and the longest
DISABLED_AFTER = timedelta(days=5)  # of nothing but failures
TEST = "webhook.test"


def has_work(*, using: str) -> bool:
    """For the tick: one statement."""
    return _endpoints(using).with_work().exists()


def drain(*, using: str, ends_at: float) -> int:
    """Route what is new and send what is due, in turns; how many attempts were made.

    ends_at: no further one is begun then, by ``clock.monotonic``.
    """
    if shutdown.is_stopping():
        return 0
    routing.route(using=using)
    made = 0
    while did := _round(using, ends_at):
        made += did
        if clock.monotonic() >= ends_at:
            break
    return made


def _round(using: str, ends_at: float) -> int:
    """One attempt for each endpoint that has something due."""
    made = 0
    for endpoint_id in _endpoints(using).ready().order_by("id").values_list("pk", flat=True):
        if shutdown.is_stopping() or (made and clock.monotonic() >= ends_at):
            break
        delivery = take_next(endpoint_id, using=using)
        if delivery is not None:
            attempt(delivery, using=using)
            made += 1
    return made


def take_next(endpoint_id: UUID, *, using: str) -> WebhookDelivery | None:
    """Lease the delivery to an endpoint that has been due for longest, its endpoint beside it."""
    rows = WebhookDelivery.objects.using(using).filter(endpoint=endpoint_id)
    taken: WebhookDelivery | None = leasing.take_next(rows, beside="endpoint", using=using)
    return taken


def attempt(delivery: WebhookDelivery, *, using: str) -> None:
    """Send a leased delivery, outside any transaction of ours, and record what came of it."""
    if (used := leasing.used_up(delivery.attempts, RETRY.max_attempts)) is not None:
        leasing.settle(delivery, using, leasing.failure(used))
        return
    try:
        body, headers = messages.message(delivery, using=using)
    except Exception as error:  # the payload's or the cipher's: not the endpoint's fault
        _record_failure(delivery, error, using)
        return
    try:
        sending.post(delivery.endpoint.url, body, headers)
    except Exception as error:
        _record_failure(delivery, error, using)
        _leave_alone(delivery, error, using)
    else:
        leasing.settle(delivery, using, leasing.delivered())
        if delivery.endpoint.failures:
            _endpoints(using).filter(pk=delivery.endpoint_id).update(**endpoints.HEALTHY)


def _record_failure(delivery: WebhookDelivery, error: Exception, using: str) -> None:
    delay = RETRY.next_delay_seconds(error, attempt=delivery.attempts, elapsed_seconds=0.0, random=random.Random())
    if _is_gone(error):
        delay = None
    leasing.settle(delivery, using, leasing.failure(error, again_in=delay))
    signals.send_on_commit(
        signals.webhook_failed,
        sender=WebhookDelivery,
        using=using,
        execution_id=delivery.execution_id,
        delivery_id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        kind=delivery.kind,
        attempt=delivery.attempts,
        type_name=endings.type_name(error),
        will_retry=delay is not None,
    )


def _leave_alone(delivery: WebhookDelivery, error: Exception, using: str) -> None:
    """For a while; for good if it wants no more, or has done nothing but fail for days."""
    endpoint = delivery.endpoint
    first, longest = PAUSES_SECONDS
    pause = min(first * 2 ** min(endpoint.failures, 20), longest)
    _endpoints(using).filter(pk=endpoint.pk).update(
        failures=F("failures") + 1,
        failing_since=Coalesce("failing_since", DatabaseNow()),
        paused_until=DatabaseNow() + timedelta(seconds=pause),
    )
    now: datetime = getattr(delivery, "leased_at")  # noqa: B009 - an annotation is no attribute to a type checker
    if _is_gone(error):
        endpoints.disable(endpoint, "It answered that it is gone (status 410).", using=using)
    elif endpoint.failing_since is not None and now - endpoint.failing_since >= DISABLED_AFTER:
        endpoints.disable(endpoint, f"It has failed since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC.", using=using)


def _is_gone(error: Exception) -> bool:
    return isinstance(error, WebhookError) and error.status == sending.GONE


def retry(delivery_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """As ``deliveries.retry``; its endpoint is not left alone any longer. Raises DeliveryConflict."""
    rows = WebhookDelivery.objects.using(using)
    with transaction.atomic(using=using):
        # The endpoint before its deliveries, as whoever removes or routes to it.
        owners = rows.filter(pk=delivery_id).values_list("endpoint_id", flat=True)
        _endpoints(using).filter(pk__in=list(owners)).update(**endpoints.HEALTHY)
        before = leasing.make_due(rows, delivery_id, "endpoint_id", "execution_id")
        execution_id = before.pop("execution_id")
        told = {**before, "endpoint_id": str(before["endpoint_id"]), "delivery_id": str(delivery_id)}
        audit(using, execution_id, kind="webhook_delivery_retried", actor=actor, reason=reason, before=told)
        hint(using=using)


def test(endpoint_id: UUID, *, using: str) -> WebhookDelivery:
    """A message that says nothing, by the way of all others. Raises WebhookNotFoundError, DeliveryConflict."""
    with transaction.atomic(using=using):
        endpoint = endpoints.locked(endpoint_id, using=using)
        if not endpoint.active:
            raise DeliveryConflict(f"Webhook endpoint {endpoint_id} is not active: nothing is sent to it. Activate it.")
        made = WebhookDelivery(endpoint=endpoint, entry_id=new_id(), kind=TEST, body=_test_body(), due_at=DatabaseNow())
        made.save(using=using, force_insert=True)
        hint(using=using)
    made.refresh_from_db(using=using)
    return made


def _test_body() -> str:
    return f'{{"type": "{TEST}", "timestamp": "{clock.now().isoformat()}", "data": {{}}}}'


def hint(*, using: str) -> None:
    """Tell those who send, after the commit."""
    if (queue := get_settings().webhook_queue) is not None:
        dispatch.drain_after_commit(queue, using=using, delay_seconds=0.0)


def _endpoints(using: str) -> WebhookEndpointQuerySet:
    return WebhookEndpointQuerySet(WebhookEndpoint, using=using)
