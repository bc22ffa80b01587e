"""executions_for and ``DurableSubject``: the executions of a row of the project's own."""

from datetime import timedelta
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import models
from django.db.migrations.state import ModelState

from django_durable import InvalidOptionError, client, workflow
from django_durable.clock import now
from django_durable.models import DurableSubject, Execution
from testproject.shop.models import Customer, Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def about():
    @workflow("subject.about")
    def about(ctx):
        pass

    return about


@pytest.fixture
def customers():
    made = [Customer(name=str(number), email=f"{number}@example.com") for number in range(3)]
    return Customer.objects.bulk_create(made)


def ids(found):
    return [row.pk for row in found]


def test_the_executions_of_a_row_are_those_started_with_it(about, customers):
    first, second, _ = customers
    started = [about.using(subject=first).start() for _ in range(3)]
    about.using(subject=second).start()
    about.start()
    assert set(ids(client.executions_for(first))) == set(ids(started))
    Execution.objects.filter(pk=started[1].pk).update(created_at=now() + timedelta(days=1))
    for found in (client.executions_for(first), first.executions.all()):
        assert len(found) == 3
        assert found[0].pk == started[1].pk


def test_the_reverse_manager_has_the_verbs_of_executions(about, customers, durable):
    customer = customers[0]
    closed = about.using(subject=customer).start()
    durable.run_until_idle()
    waiting = about.using(subject=customer, delay=60).start()
    assert customer.executions.count() == 2
    assert ids(customer.executions.open()) == [waiting.pk]
    assert ids(customer.executions.closed()) == [closed.pk]
    assert customer.executions.filter(status="completed").get().pk == closed.pk
    assert customer.executions.first().get_deferred_fields() == {"input", "result", "error"}


def test_prefetched_they_are_one_statement_for_all_rows(about, customers, django_assert_num_queries):
    for customer in customers[:2]:
        for _ in range(2):
            about.using(subject=customer).start()
    with django_assert_num_queries(2):
        found = {
            customer.pk: ids(customer.executions.all()) for customer in Customer.objects.prefetch_related("executions")
        }
    assert found == {customer.pk: ids(client.executions_for(customer)) for customer in customers}
    few = models.Prefetch("executions", Execution.objects.filter(workflow="nobodys"))
    assert [list(row.executions.all()) for row in Customer.objects.prefetch_related(few)] == [[], [], []]


def test_the_executions_outlive_their_subject(about, customers):
    customer = customers[0]
    started = about.using(subject=customer).start()
    label = f"shop.customer:{customer.pk}"
    customer.delete()
    assert ids(client.find(subject=label)) == [started.pk]


def test_a_proxy_is_about_the_same_row(about, customers):
    class Buyer(Customer):
        class Meta:
            app_label = "shop"
            proxy = True

    try:
        buyer = Buyer.objects.get(pk=customers[0].pk)
        started = about.using(subject=buyer).start()
        assert ids(customers[0].executions.all()) == ids(buyer.executions.all()) == [started.pk]
    finally:
        del apps.all_models["shop"]["buyer"]
        apps.clear_cache()


@pytest.mark.parametrize("subject", [Customer(), "shop.customer", 7, None])
def test_what_is_no_row_has_no_executions(about, subject):
    with pytest.raises(InvalidOptionError, match="saved model instance"):
        client.executions_for(subject)


def test_an_unsaved_row_has_none():
    with pytest.raises(InvalidOptionError, match="saved model instance"):
        Order().executions.all()


def test_the_base_leaves_no_trace_in_migrations():
    out = StringIO()
    call_command("makemigrations", "shop", "--check", "--dry-run", stdout=out)
    assert "No changes" in out.getvalue()
    assert issubclass(Order, DurableSubject)
    assert ModelState.from_model(Order).bases == (models.Model,)
