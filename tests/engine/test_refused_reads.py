"""A database that fails while the engine looks something up for the function is no failure of the workflow's."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_durable import Context, client, workflow
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


@pytest.mark.django_db(transaction=True)
def test_a_read_that_is_refused_while_it_goes_back_is_no_change_of_the_code(durable: Any) -> None:
    """What lies behind the step is learnt from a replay, and that reads the results of maps."""
    did: list[str] = []

    def pay() -> None:
        if "undo" not in did:
            raise ValueError

    @workflow("refused.back", on_failure="leave")
    def goes_back(ctx: Context) -> Any:
        found = sum(ctx.map(child, [1, 2]))
        ctx.step("book", did.append, "book", compensate=lambda _: did.append("undo"))
        ctx.step("pay", pay)
        return found

    execution = goes_back.start()
    durable.run_until_idle()
    client.retry(execution, from_step="book", compensate=True)
    refusing = Refusing("django_durable_execution", "result")

    with connection.execute_wrapper(refusing), pytest.raises(OperationalError):
        worker.advance_one(execution.id, using="default")

    assert refusing.has_refused
    assert Execution.objects.get(pk=execution.id).status == "compensating"
    Timer.objects.filter(pk=execution.id).update(due_at=execution.created_at)  # its lease has run out
    assert durable.run(execution) == 3
    assert did == ["book", "undo", "book"]


@pytest.mark.django_db(transaction=True)
def test_a_read_that_is_refused_in_the_proof_of_the_other_branches_proves_nothing(durable: Any) -> None:
    """Before the first new thing of a pass it is asked whether what other branches recorded fits as well."""
    did: list[str] = []

    def first(ctx: Context) -> None:
        ctx.wait_for_signal("go")
        ctx.step("new", did.append, "new")

    def second(ctx: Context) -> None:
        ctx.step("sum", int, sum(ctx.map(child, [1, 2])))
        ctx.wait_for_signal("stay")

    @workflow("refused.branches")
    def branches(ctx: Context) -> None:
        ctx.parallel("both", {"first": first, "second": second})

    execution = branches.start()
    durable.run_until_idle()
    client.signal(execution, "go")
    refusing = Refusing("django_durable_execution", "result")

    with connection.execute_wrapper(refusing), pytest.raises(OperationalError):
        worker.advance_one(execution.id, using="default")

    assert refusing.has_refused
    assert not did
    Timer.objects.filter(pk=execution.id).update(due_at=execution.created_at)  # its lease has run out
    durable.run_until_idle()
    assert did == ["new"]
