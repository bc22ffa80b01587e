"""The migrations: they say what the models say, and lead back as well as forth."""

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from django_durable.models import Execution, Timer
from tests.models import rows

TABLES = {model._meta.db_table for model in apps.get_app_config("django_durable").get_models()}


def present():
    return TABLES & set(connection.introspection.table_names())


@pytest.mark.django_db
def test_the_models_have_no_change_that_no_migration_makes():
    out = StringIO()
    try:
        call_command("makemigrations", "--check", "--dry-run", stdout=out)
    except SystemExit:
        pytest.fail(out.getvalue())


@pytest.mark.django_db(transaction=True)
def test_the_tables_go_and_come_back():
    rows.timer()
    assert present() == TABLES
    try:
        call_command("migrate", "django_durable", "zero", verbosity=0)
        assert present() == set()
    finally:
        call_command("migrate", "django_durable", verbosity=0)
    assert present() == TABLES
    assert not Execution.objects.exists()
    assert rows.timer().pk and Timer.objects.count() == 1


@pytest.mark.django_db
def test_everything_is_migrated():
    call_command("migrate", "--check", verbosity=0)


@pytest.mark.django_db
def test_every_constraint_and_index_of_the_models_is_in_the_database():
    for model in apps.get_app_config("django_durable").get_models():
        with connection.cursor() as cursor:
            found = set(connection.introspection.get_constraints(cursor, model._meta.db_table))
        named = {one.name for one in (*model._meta.constraints, *model._meta.indexes)}
        assert named - found == set(), model
