"""The check of the isolation level, asked over real connections that have another one."""

import pytest
from django.core import checks
from django.db import connection

from tests.authoring import NO_BROKER
from tests.checks.aliases import alias

on_postgres = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="PostgreSQL: servers, databases and roles have a default level"
)
on_servers = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one isolation level")
SERVER_DEFAULT = {"options": "-c default_transaction_isolation=serializable"}


@pytest.fixture
def found(settings, django_db_setup, django_db_blocker):
    """Check this lane's server by another alias with other options; not in the transaction of a test case."""

    def check(**options):
        settings.DURABLE = {**NO_BROKER, "DATABASE": "other"}
        entry = {"NAME": connection.settings_dict["NAME"]}
        with django_db_blocker.unblock(), alias("other", entry, **{**connection.settings_dict["OPTIONS"], **options}):
            return checks.run_checks(tags=["durable"], databases=["other"])

    return check


def level_of_driver(level):
    """How OPTIONS names a level."""
    if connection.vendor == "postgresql":
        from psycopg import IsolationLevel

        return IsolationLevel[level.replace(" ", "_").upper()]
    return level


@on_servers
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_another_isolation_level_is_an_error(found, level):
    (message,) = found(isolation_level=level_of_driver(level))
    assert message.id == "durable.E006"
    assert level in message.msg
    wanted = "psycopg.IsolationLevel.READ_COMMITTED" if connection.vendor == "postgresql" else "'read committed'"
    assert message.hint == f"Set OPTIONS['isolation_level'] to {wanted}."


@on_servers
def test_read_committed_is_what_is_wanted(found):
    assert found(isolation_level=level_of_driver("read committed")) == []


@on_postgres
def test_another_default_level_of_the_server_is_an_error(found):
    (message,) = found(**SERVER_DEFAULT)
    assert message.id == "durable.E006"


@on_postgres
def test_an_explicit_level_wins_over_the_default_of_the_server(found):
    assert found(**SERVER_DEFAULT, isolation_level=level_of_driver("read committed")) == []


@on_servers
@pytest.mark.django_db
def test_the_server_is_not_asked_unless_its_database_is_checked(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert not [message for message in checks.run_checks() if message.id.startswith("durable.")]
