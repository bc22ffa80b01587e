"""What a test has committed is gone before the next one, and what the migrations wrote is not."""

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from django_durable.models import Execution, Timer
from testproject.shop.models import Customer
from tests import flushing
from tests.models import rows


@pytest.mark.django_db(transaction=True)
def test_every_row_of_a_test_goes_and_what_migrations_wrote_stays() -> None:
    rows.execution(parent=rows.execution())
    Customer.objects.create(name="Ada", email="ada@shop.example")
    kept = (ContentType.objects.count(), Permission.objects.count())

    flushing.flush(_Case())

    assert not any(model.objects.exists() for model in (Execution, Timer, Customer))
    assert (ContentType.objects.count(), Permission.objects.count()) == kept
    assert min(kept) > 0


class _Case:
    """Stands in for the test case of pytest-django."""

    def _databases_names(self, *, include_mirrors: bool) -> list[str]:
        return ["default"]
