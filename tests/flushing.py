"""Empty the database after a test with real commits: only the tables that have rows.

Django's own flush truncates every table there is and has ``post_migrate`` write content types and permissions anew,
most of what such a test costs. Here these stay, as the migrations have left them.
"""

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.test import TransactionTestCase

KEPT = ("django_migrations", "django_content_type", "auth_permission", "django_celery_beat_")


def flush(case: TransactionTestCase) -> None:
    """Stands in for ``TransactionTestCase._fixture_teardown``; the suite has one database."""
    assert case._databases_names(include_mirrors=False) == [DEFAULT_DB_ALIAS]
    # Deleted, not truncated: for a few rows it is far cheaper. PostgreSQL and SQLite check foreign keys at COMMIT.
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        for table in _with_rows(cursor):
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


def _with_rows(cursor: CursorWrapper) -> list[str]:
    tables = [name for name in connection.introspection.django_table_names() if not name.startswith(KEPT)]
    asked = " UNION ALL ".join(
        f"SELECT '{table}' FROM (SELECT 1 AS one) AS one_row WHERE EXISTS (SELECT 1 FROM {quoted})"
        for table, quoted in ((name, connection.ops.quote_name(name)) for name in sorted(tables))
    )
    cursor.execute(asked)
    return [table for (table,) in cursor.fetchall()]
