"""PostgreSQL: the hot statements are parsed and planned once per connection instead of each time they run.

For statements of a few lines that is a quarter of their time. Django's own cursors put the parameters into the text,
which the server has to read anew, and leave psycopg's prepared statements off because a pool that hands out server
connections by the transaction would lose them. Such a pool answers for the server, so it can be told: the process that
it names at connecting is not the one that runs the statements.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_durable import clock

# A plan made while a table was empty reads all of it, and is kept however full the table gets until the next ANALYZE.
PLANS_LIVE_SECONDS = 10.0

_UNKNOWN = -1.0
_planned_at: WeakKeyDictionary[Any, float | None] = WeakKeyDictionary()  # by driver connection; None: not through this


def hot_cursor(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """A cursor for statements whose texts are few and always the same.

    An ordinary one on other databases, and while queries are logged: the log is to show them with their parameters.
    """
    if connection.vendor != "postgresql" or connection.needs_rollback or connection.queries_logged:
        return connection.cursor()
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    if not _is_prepared_for(connection):
        return connection.cursor()
    from django.db.backends.postgresql import base  # needs the driver

    cursor: Any = base.ServerBindingCursor  # only there with psycopg 3
    return connection.make_cursor(cursor(connection.connection))


def _is_prepared_for(connection: BaseDatabaseWrapper) -> bool:
    driver, now = connection.connection, clock.process_seconds()
    planned_at = _planned_at.get(driver, _UNKNOWN)
    if planned_at is None:
        return False
    if planned_at == _UNKNOWN:
        _planned_at[driver] = now if _allow(connection) else None
    elif now - planned_at > PLANS_LIVE_SECONDS:
        with connection.wrap_database_errors:
            # Another text each time: the driver looks at the answer to new ones only, and would go on using what is
            # gone after a second DEALLOCATE if there was nothing to forget at the first.
            driver.execute(f"DEALLOCATE ALL -- {now}", prepare=False)
        _planned_at[driver] = now
    return _planned_at[driver] is not None


def _allow(connection: BaseDatabaseWrapper) -> bool:
    """Turn the driver's prepared statements on, unless this is psycopg 2, a pool, or the project has its own wish."""
    driver = connection.connection
    has_own_wish = connection.settings_dict["OPTIONS"].get("server_side_binding")
    if has_own_wish or not hasattr(driver, "prepare_threshold"):
        return False
    with connection.wrap_database_errors:
        server = driver.execute("SELECT pg_backend_pid()").fetchone()[0]
    if server != driver.info.backend_pid:
        return False
    driver.prepare_threshold = 1  # at its second run: a connection of one task prepares nothing
    return True
