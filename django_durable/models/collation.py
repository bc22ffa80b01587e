"""Names compare by their bytes, on every database.

MySQL's and MariaDB's default collations take "Order", "order", "ordér" and "order " for one name: two keys would be
one execution, two steps one checkpoint. Each migration that adds a table runs ``compare_bytes`` on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.registry import Apps

FIRST = ("execution", "timer", "step", "signal", "schedule", "scheduletick", "auditentry")
OUTBOX = ("outboxevent", "delivery")
WEBHOOKS = ("webhookendpoint", "webhookdelivery")
TABLES = (
    *FIRST,
    *OUTBOX,
    "fanout",
    "logline",
    "setasidestep",
    "turn",
    "node",
    "limitkey",
    "slot",
    "feedhead",
    *WEBHOOKS,
)


def compare_bytes(apps: Apps, schema_editor: Any, tables: Sequence[str] = FIRST) -> None:
    """Give the text columns of our tables a binary collation without padding, where the default is another."""
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
    # MySQL keeps UUIDs as text: both ends of a foreign key change, one after the other.
    schema_editor.execute("SET FOREIGN_KEY_CHECKS = 0")
    for name in tables:
        table = connection.ops.quote_name(apps.get_model("django_durable", name)._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")
    schema_editor.execute("SET FOREIGN_KEY_CHECKS = 1")
