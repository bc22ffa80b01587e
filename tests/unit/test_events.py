"""Event types, and the registration of those who receive them."""

from dataclasses import dataclass

import pytest

from django_durable import ConfigurationError, EventType, InvalidOptionError, Retry, on_event
from django_durable.events import check_event, receivers


@dataclass
class Shipped:
    parcel: str


shipped = EventType("events.shipped", payload=Shipped)


@pytest.fixture(autouse=True)
def isolated_receivers():
    with receivers.isolated():
        yield


def mail(event): ...


def test_a_receiver_is_found_by_its_event_and_the_name_of_its_function():
    assert on_event("paid")(mail) is mail
    assert receivers.find("paid", "mail").fn is mail
    assert receivers.find("shipped", "mail") is None


def test_one_function_may_receive_several_events_under_names_of_its_own():
    on_event("paid", name="letters")(on_event(shipped)(mail))
    assert [receiver.name for receiver in receivers.of("paid")] == ["letters"]
    assert [receiver.name for receiver in receivers.of("events.shipped")] == ["mail"]


def test_a_second_receiver_of_one_name_is_a_configuration_error():
    on_event("paid")(mail)
    with pytest.raises(ConfigurationError, match=r"two receivers named 'mail'.*test_events\.mail.*another name="):

        @on_event("paid", name="mail")
        def other(event): ...

    assert receivers.find("paid", "mail").fn is mail


def test_a_module_that_is_imported_again_registers_the_same():
    on_event("paid")(mail)
    on_event("paid", retry=Retry(max_attempts=2))(mail)
    assert [receiver.retry.max_attempts for receiver in receivers.of("paid")] == [2]


async def too_modern(event): ...


def of_nothing(): ...


@pytest.mark.parametrize("fn", [too_modern, of_nothing, 7], ids=["async", "no argument", "no function"])
def test_what_cannot_receive_is_refused(fn):
    with pytest.raises(ConfigurationError, match="Receiver"):
        on_event("paid")(fn)
    assert not receivers


@pytest.mark.parametrize("bad", [{"event": "ill eagle"}, {"event": 7}, {"event": "paid", "retry": 3}], ids=str)
def test_options_of_no_use_are_refused(bad):
    with pytest.raises(InvalidOptionError):
        on_event(**bad)


def test_a_function_without_a_name_needs_one():
    with pytest.raises(InvalidOptionError, match="Receiver name '<lambda>'"):
        on_event("paid")(lambda event: None)


def test_a_type_takes_payloads_of_its_class_only():
    assert check_event(shipped, Shipped("7")) == "events.shipped"
    with pytest.raises(InvalidOptionError, match=r"Event 'events\.shipped' carries Shipped, not dict"):
        check_event(shipped, {"parcel": "7"})
