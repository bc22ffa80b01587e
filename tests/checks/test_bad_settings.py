"""A mistake in ``DURABLE`` is reported by its check; no other check trips over it."""

from typing import Any

import pytest
from django.core import checks

from django_durable import workflow
from django_durable.checks import check_queues, check_settings
from django_durable.definitions import registry


@pytest.mark.parametrize(
    ("given", "check_id"),
    [
        pytest.param({"LEASE_SECOND": 3}, "durable.E001", id="misspelled key"),
        pytest.param({"LEASE_SECONDS": 0}, "durable.E002", id="value of no use"),
        pytest.param({"LEASE_SECONDS": "x"}, "durable.E002", id="value of another type"),
        pytest.param({"DATABASE": "nowhere"}, "durable.E005", id="unknown alias"),
    ],
)
@pytest.mark.django_db
def test_mistake_is_reported(settings: Any, given: dict[str, Any], check_id: str) -> None:
    settings.DURABLE = given
    found = checks.run_checks(tags=["durable"], databases=["default"])
    errors = [message for message in found if message.level >= checks.ERROR]
    assert [message.id for message in errors] == [check_id]
    assert errors[0].hint


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"QUEUES": "default"}, "give a list of names"),
        ({"DISPATCHER": "shop.nowhere.Dispatcher"}, "cannot be imported"),
        ({"PAYLOAD_CIPHER": "shop.nowhere.Cipher"}, "cannot be imported"),
        ({"RETENTION": "30d"}, "give a timedelta"),
        ({"AUDIT_RETENTION": 30}, "give a timedelta"),
        ({"ARCHIVE": "nowhere"}, "not in STORAGES"),
        ({"PAYLOAD_OFFLOAD_BYTES": 0, "PAYLOAD_STORAGE": "default"}, "whole number"),
        ({"PAYLOAD_OFFLOAD_BYTES": 100}, "needs PAYLOAD_STORAGE"),
    ],
)
def test_values_of_no_use_are_named(settings, given, told):
    settings.DURABLE = given
    found = check_settings()
    assert [message.id for message in found] == ["durable.E002"]
    assert told in found[0].msg


@pytest.mark.django_db
def test_a_queue_that_nobody_looks_at_any_more_is_named(settings: Any) -> None:
    settings.DURABLE = {"QUEUES": ["default", "old"], "DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    with registry.isolated():
        workflow("checks.queue")(lambda ctx: None).using(queue="old").start()
    assert check_queues(databases=["default"]) == []
    settings.DURABLE = {}
    (message,) = check_queues(databases=["default"])
    assert (message.id, "'old'" in message.msg) == ("durable.W012", True)
