"""Tokens as the engine issues and reads them: the same in every replay, and nothing that we have not signed."""

import string
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.signing import Signer, dumps

from django_durable import Cancelled, client, workflow
from django_durable.engine import tokens, worker
from django_durable.exceptions import InvalidTokenError, UsedTokenError
from django_durable.models import Step
from tests.authoring import Killed

HOUR = timedelta(hours=1)


@pytest.fixture
def issued():
    """Every token that a run of ``flow`` has seen."""
    return []


@pytest.fixture
def flow(issued):
    @workflow("tokens.flow")
    def flow(ctx):
        issued.append(ctx.signal_token("go", expires=HOUR))
        return ctx.wait_for_signal("go")

    return flow


def test_every_replay_gets_the_same_token(durable, flow, issued):
    execution = flow.start()
    durable.run_until_idle()
    durable.signal(execution, "other")
    durable.advance(timedelta(minutes=5))
    durable.signal(execution, "go")
    assert client.get(execution).status == "completed"
    assert len(issued) >= 3
    assert len(set(issued)) == 1


def test_each_call_and_each_execution_has_a_token_of_its_own(durable, issued):
    @workflow("tokens.several")
    def several(ctx):
        issued.extend(ctx.signal_token("go", expires=HOUR) for _ in range(3))

    durable.run(several.start())
    durable.run(several.start())
    assert len(set(issued)) == 6


def test_the_history_tells_the_signal_and_the_end_and_holds_no_token(durable, flow, issued):
    execution = flow.start()
    durable.run_until_idle()
    (record,) = (record for record in durable.inspect(execution).history if record.kind == "token")
    assert (record.step_id, record.target, record.result) == ("token:go", "go", None)
    assert record.due_at == record.started_at + HOUR
    stored = " ".join(str(value) for row in Step.objects.values() for value in row.values())
    assert issued[0] not in stored
    assert issued[0].partition(".")[2] not in stored


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_token_is_logged_nowhere(flow, issued, caplog):
    with caplog.at_level("DEBUG"):
        execution = flow.start()
        worker.drain("default", using="default")
        client.signal_by_token(issued[0], "go")
        worker.drain("default", using="default")
        with pytest.raises(UsedTokenError):
            client.signal_by_token(issued[0], "go")
    assert str(execution.id) in caplog.text
    assert issued[0].partition(".")[2] not in caplog.text


def test_a_worker_that_dies_after_issuing_leaves_the_same_token_to_the_next(durable, issued):
    deaths = [Killed()]

    def mail(token):
        if deaths:
            raise deaths.pop()

    @workflow("tokens.mailed")
    def mailed(ctx):
        issued.append(ctx.signal_token("go", expires=HOUR))
        ctx.step("mail", mail, issued[-1])

    execution = mailed.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    durable.advance(timedelta(minutes=1))
    assert client.get(execution).status == "completed"
    assert issued[0] == issued[1]


def test_a_cancelled_execution_issues_no_token(durable, issued):
    @workflow("tokens.cancelled")
    def cancelled(ctx):
        ctx.step("cancel", client.cancel, ctx.execution_id)
        try:
            issued.append(ctx.signal_token("go", expires=HOUR))
        except Cancelled:
            ctx.note("no token")
            raise

    execution = cancelled.start()
    durable.run_until_idle()
    assert issued == []
    history = durable.inspect(execution).history
    assert [(record.step_id, record.status) for record in history][1:] == [
        ("token:go", "cancelled"),
        ("note", "completed"),
    ]


def test_it_needs_no_escaping_in_any_part_of_a_url(durable, flow, issued):
    flow.start()
    durable.run_until_idle()
    assert set(issued[0]) <= set(string.ascii_letters + string.digits + "-._~")  # RFC 3986, "unreserved"


def test_a_token_signed_by_a_former_key_is_read_while_that_key_is_a_fallback(durable, flow, issued, settings):
    old = settings.SECRET_KEY
    flow.start()
    durable.run_until_idle()
    step_id = Step.objects.get(kind="token").pk
    settings.SECRET_KEY = "another"
    with pytest.raises(InvalidTokenError):
        tokens.unsign(issued[0])
    settings.SECRET_KEY_FALLBACKS = [old]
    assert tokens.unsign(issued[0]) == step_id


ID = UUID(int=7)
STRANGE = {
    "nothing": None,
    "empty": "",
    "bytes": b"abc.def",
    "a number": 7,
    "no signature": ID.hex,
    "an empty signature": f"{ID.hex}.",
    "only a signature": ".abc",
    "a lone surrogate": "\ud800.abc",
    "a NUL": "\0.\0",
    "digits of another script": "٣.٣",
    "very long": "a" * 1_000_000 + ".b",
    "of another salt": Signer(sep=".", salt="another").sign(ID.hex),
    "of Django's own": dumps(ID.hex),
    "signed in Django's own salt": Signer(sep=".").sign(ID.hex),
}


@pytest.mark.parametrize("token", STRANGE.values(), ids=STRANGE)
def test_what_we_have_not_signed_is_no_token(token):
    with pytest.raises(InvalidTokenError):
        tokens.unsign(token)


def test_no_changed_character_is_accepted():
    good = Signer(sep=".", salt="django_durable.signal_token").sign(ID.hex)
    assert tokens.unsign(good) == ID
    accepted = tried = 0
    for place in range(len(good)):
        for character in map(chr, range(1, 128)):
            changed = good[:place] + character + good[place + 1 :]
            if changed != good:
                tried += 1
                accepted += _is_read(changed)
    assert tried > 9_000
    assert accepted == 0


def _is_read(token):
    try:
        return bool(tokens.unsign(token))
    except InvalidTokenError:
        return False
