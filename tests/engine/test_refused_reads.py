"""A database that fails while the engine looks something up for the function is no failure of the workflow's."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_durable import Context, workflow
from django_durable.engine import worker
from django_durable.models import Execution, Timer


class Refusing:
    """Refuses the first statement that reads this column of this table."""

    def __init__(self, table: str, column: str) -> None:
        self.table, self.column, self.has_refused = table, column, False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        quoted = connection.ops.quote_name
        is_meant = f"FROM {quoted(self.table)}" in sql and f"{quoted(self.column)} AS" in sql
        if is_meant and not self.has_refused:
            self.has_refused = True
            raise OperationalError("the server went away")
        return execute(sql, params, many, context)


@workflow("refused.child")
def child(ctx: Context, number: int = 7) -> int:
    return number


@workflow("refused.calls")
def calls(ctx: Context) -> Any:
    return ctx.call(child)


@workflow("refused.maps")
def maps(ctx: Context) -> Any:
    return list(ctx.map(child, [1, 2]))


@pytest.mark.parametrize(
    ("parent", "table", "column", "result"),
    [
        (calls, "django_durable_execution", "result", 7),
        (maps, "django_durable_fanout", "remaining", [1, 2]),
        (maps, "django_durable_execution", "result", [1, 2]),
    ],
    ids=["the end of a child", "what is left of a map", "the results of a map"],
)
@pytest.mark.django_db(transaction=True)
def test_a_read_that_is_refused_is_tried_again(parent: Any, table: str, column: str, result: Any, durable: Any) -> None:
    execution = parent.start()
    worker.advance_one(execution.id, using="default")
    for begun in Execution.objects.filter(parent=execution.id):
        worker.advance_one(begun.pk, using="default")
    refusing = Refusing(table, column)

    with connection.execute_wrapper(refusing), pytest.raises(OperationalError):
        worker.advance_one(execution.id, using="default")

    assert refusing.has_refused
    assert Execution.objects.get(pk=execution.id).status == "waiting"
    Timer.objects.filter(pk=execution.id).update(due_at=execution.created_at)  # its lease has run out
    assert durable.run(execution) == result
