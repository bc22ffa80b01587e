"""One verb for many: whom it means, what it did, whom it left alone."""

import pytest

from django_durable import InvalidOptionError, client, workflow
from django_durable.client.bulk import ORDERS
from django_durable.models import AuditEntry, Execution, Status


@pytest.fixture
def waits(durable):
    @workflow("bulk.waits")
    def waits(ctx, tenant):
        ctx.wait_for_signal("go")

    return waits


@pytest.fixture
def waiting(waits, durable):
    """Three that wait, two of them of one tenant."""
    made = [waits.using(labels={"tenant": tenant}).start(tenant) for tenant in ("acme", "acme", "zeta")]
    durable.run_until_idle()
    return made


def statuses():
    return sorted(Execution.objects.values_list("status", flat=True))


def test_every_verb_can_be_given_to_many():
    assert {verb.name: getattr(client, verb.name) for verb in client.verbs()} == ORDERS


def test_those_that_fit_get_it_each_with_its_entry(waiting):
    report = client.bulk("terminate", client.Filter(labels={"tenant": "acme"}), actor="ada", reason="gone")
    assert (len(report.done), report.refused, report.has_more) == (2, {}, False)
    assert statuses() == ["terminated", "terminated", "waiting"]
    assert set(AuditEntry.objects.values_list("kind", "actor", "reason")) == {("terminated", "ada", "gone")}


def test_a_refusal_is_reported_and_the_others_go_on(waiting):
    client.pause(waiting[0])
    report = client.bulk("pause", client.Filter(workflow="bulk.waits", status="open"))
    assert len(report.done) == 2
    assert list(report.refused) == [waiting[0].id]
    assert "is paused" in report.refused[waiting[0].id]


def test_no_more_than_the_limit_and_the_rest_at_the_next_call(waiting):
    where = client.Filter(status="waiting")
    first = client.bulk("terminate", where, limit=2)
    assert (len(first.done), first.has_more) == (2, True)
    second = client.bulk("terminate", where, limit=2)
    assert (len(second.done), second.has_more) == (1, False)


def test_a_dry_run_names_them_and_does_nothing(waiting):
    report = client.bulk("terminate", client.Filter(status="waiting"), dry_run=True)
    assert set(report.done) == {execution.id for execution in waiting}
    assert statuses() == ["waiting"] * 3


@pytest.mark.parametrize(
    ("verb", "where", "limit"),
    [
        ("explode", {"status": "waiting"}, 10),
        ("terminate", {}, 10),
        ("terminate", {"status": "waiting"}, 0),
        ("terminate", {"status": "waiting"}, 10_001),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(waiting, verb, where, limit):
    with pytest.raises(InvalidOptionError):
        client.bulk(verb, client.Filter(**where), limit=limit)
    assert statuses() == [Status.WAITING] * 3
