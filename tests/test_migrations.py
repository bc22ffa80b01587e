"""The migrations: they say what the models say, and lead back as well as forth."""

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from django_durable.models import Execution, Schedule, Timer
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


@pytest.mark.django_db(transaction=True)
def test_keys_are_held_as_before_and_those_that_cannot_be_are_dropped_on_the_way_back():
    loader = MigrationLoader(connection)
    (_, before) = loader.get_migration("django_durable", "0011_starts").dependencies[0]
    for values in ({"key": "a"}, {"key": "b", "key_scope": "order"}, {"key": "c", "key_scope": None}):
        rows.closed(**values)
    rows.closed(key="c")
    try:
        call_command("migrate", "django_durable", before, verbosity=0)
    finally:
        call_command("migrate", "django_durable", verbosity=0)
    held = Execution.objects.order_by("key").values_list("key", "key_scope").exclude(key=None)
    assert list(held) == [("a", "flow"), ("c", "flow")]
    assert Execution.objects.filter(key=None, key_scope=None).count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_tables_of_schedules_are_made_anew_beside_rows_both_ways():
    before = ("django_durable", "0019_step_limits")
    execution = rows.closed()
    rows.tick(execution=execution)
    try:
        call_command("migrate", *before, verbosity=0)
        old = MigrationLoader(connection).project_state([before]).apps
        schedule = old.get_model("django_durable", "Schedule").objects.create(name="nightly", workflow="flow", input="")
        old.get_model("django_durable", "ScheduleTick").objects.create(
            schedule=schedule, nominal_at=schedule.created_at, outcome="started", execution_id=execution.pk
        )
    finally:
        call_command("migrate", "django_durable", verbosity=0)
    assert not Schedule.objects.exists()
    assert Execution.objects.get() == execution
    assert rows.tick(execution=execution).pk
