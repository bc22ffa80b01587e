"""Validators of signals: whichever way a signal comes, what they refuse is never written."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.core.validators import MaxValueValidator

from django_durable import InvalidOptionError, SignalRefusedError, SignalType, client, register_type, workflow
from tests.authoring import rows


@register_type
@dataclass(frozen=True)
class Offer:
    amount: int


def is_affordable(offer: Offer) -> bool:
    if offer.amount < 0:
        raise ValueError("an amount is at least 0")
    return offer.amount <= 100


offered = SignalType("validators.offered", payload=Offer, validator=is_affordable)
rated = SignalType("validators.rated", payload=int, validator=MaxValueValidator(5))


@pytest.fixture
def tokens():
    return []


@pytest.fixture
def haggle(tokens):
    @workflow("validators.haggle")
    def haggle(ctx):
        tokens.append(ctx.signal_token(offered, expires=timedelta(hours=1)))
        return ctx.wait_for_signal(offered).amount

    return haggle


WAYS = {
    "signal": lambda start, execution, token, *what: client.signal(execution, *what),
    "by token": lambda start, execution, token, *what: client.signal_by_token(token, *what),
    "with start": lambda start, execution, token, *what: client.signal_with_start(start, *what),
}


@pytest.mark.parametrize("kind", [offered, "validators.offered"], ids=["by type", "by name"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_a_validator_refuses_is_not_written_whichever_way_it_comes(durable, haggle, tokens, way, kind):
    start = haggle.using(key="k").prepare()
    execution = haggle.using(key="k").start()
    durable.run_until_idle()
    before = rows()
    with pytest.raises(SignalRefusedError, match=r"'validators.offered' was refused by its validator\.$"):
        way(start, execution, tokens[0], kind, Offer(101))
    with pytest.raises(SignalRefusedError, match="at least 0") as refused:
        way(start, execution, tokens[0], kind, Offer(-1))
    with pytest.raises(InvalidOptionError, match="carries Offer, not dict"):
        way(start, execution, tokens[0], kind, {"amount": 5})
    assert (refused.value.signal, refused.value.reason) == ("validators.offered", "an amount is at least 0")
    assert rows() == before
    way(start, execution, tokens[0], kind, Offer(100))
    assert durable.run(execution) == 100


def test_a_validator_of_django_gives_its_message(durable, haggle):
    execution = haggle.start()
    with pytest.raises(SignalRefusedError, match="less than or equal to 5"):
        client.signal(execution, rated, 6)
    assert client.signal(execution, rated, 5) is True


def test_a_refused_start_with_signal_starts_nothing(durable, haggle):
    with pytest.raises(SignalRefusedError):
        client.signal_with_start(haggle.using(key="k").prepare(), offered, Offer(101))
    assert set(rows().values()) == {0}


def test_a_replay_asks_no_validator(durable):
    asked = []

    def ask(payload):
        asked.append(payload)

    once = SignalType("validators.once", validator=ask)

    @workflow("validators.replayed")
    def replayed(ctx):
        answer = ctx.wait_for_signal(once)
        ctx.sleep(60)
        return answer

    execution = replayed.start()
    durable.signal(execution, once, "tea")
    durable.advance(timedelta(minutes=2))
    assert client.result(execution) == "tea"
    assert asked == ["tea"]
