"""restart and fork: new executions that come from another one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_durable import CodecError, ExecutionConflict, InvalidOptionError, client, current_step, workflow
from django_durable.models import AuditEntry, Execution, SetAsideStep, Status, Step

HOUR = timedelta(hours=1)


@pytest.fixture
def done():
    return []


@pytest.fixture
def shop(durable, done):
    def act(name):
        done.append((name, current_step().idempotency_key))
        return f"{name} done"

    @workflow("shop", version=2)
    def shop(ctx, item, *, count=1):
        number = ctx.random().randrange(10**9)
        paid = ctx.step("pay", act, f"pay {item}")
        said = ctx.wait_for_signal("go")
        shipped = ctx.step("ship", act, f"ship {item}")
        if said == "fail":
            raise ValueError
        return [number, paid, said, shipped, count]

    return shop


@pytest.fixture
def failed(durable, shop):
    options = {"key": "order:1", "labels": {"team": "a"}, "timeout": HOUR, "priority": "high"}
    execution = shop.using(**options).start("kettle")
    durable.signal(execution, "go", "fail")
    assert client.get(execution).status == Status.FAILED
    return execution


def test_a_restart_is_the_same_anew_and_has_the_key(durable, shop, failed, done):
    new = client.restart(failed, reason="once more", actor="ada")
    assert (new.origin, new.key, new.labels, new.version) == (failed.id, "order:1", {"team": "a"}, 2)
    assert (client.get(failed).key, client.get(failed).key_scope) == ("order:1", None)
    assert shop.using(key="order:1").start("kettle").id == new.id
    durable.signal(new, "go", "now")
    assert client.result(new)[1:] == ["pay kettle done", "now", "ship kettle done", 1]
    assert len(done) == 4
    entry = AuditEntry.objects.get(kind="restarted")
    assert (entry.execution_id, entry.after["restarted_as"], entry.actor) == (failed.id, str(new.id), "ada")
    assert client.get(failed).status == Status.FAILED


def test_a_restart_has_as_much_time_as_it_had(durable, failed):
    durable.advance(9 * HOUR)
    new = client.restart(failed)
    assert abs(new.deadline_at - new.created_at - HOUR) < timedelta(seconds=1)


def test_a_fork_goes_on_from_a_copy(durable, failed, done):
    drawn = client.inspect(failed).history
    copy = client.fork(failed, "ship", reason="try", actor="ada")
    copied = client.inspect(copy)
    assert (copied.origin, copied.key, copied.status) == (failed.id, None, "waiting")
    assert [each.step_id for each in copied.history] == ["pay", "signal:go"]
    assert [each.started_at for each in copied.history] == [each.started_at for each in drawn[:2]]
    durable.run_until_idle()
    assert [name for name, _ in done] == ["pay kettle", "ship kettle", "ship kettle"]
    assert len({key for _, key in done}) == 3
    assert client.get(failed).status == Status.FAILED
    assert len(client.inspect(failed).history) == len(drawn)
    entry = AuditEntry.objects.get(kind="forked")
    assert (entry.execution_id, entry.after) == (failed.id, {"forked_as": str(copy.id), "copied": 2})


def test_a_copy_draws_the_random_numbers_that_its_history_was_made_with(durable, shop, done):
    original = shop.start("kettle")
    durable.signal(original, "go", "now")
    first = client.fork(original, "ship")
    second = client.fork(first, 1)
    durable.run_until_idle()
    durable.signal(second, "go", "later")
    numbers = [client.result(each)[0] for each in (original, first, second)]
    assert len(set(numbers)) == 1


def test_a_fork_may_have_other_results_and_another_input(durable, failed):
    copy = client.fork(failed, "signal:go", patch={"pay": "by hand"}, input={"item": "cup", "count": 2})
    durable.signal(copy, "go", "now")
    assert client.result(copy)[1:] == ["by hand", "now", "ship cup done", 2]
    (replaced,) = client.inspect(copy).set_aside
    assert (replaced.step_id, replaced.result) == ("pay", "pay kettle done")
    assert SetAsideStep.objects.get().checkpoint_id == Step.objects.get(execution=copy, name="pay").pk
    assert AuditEntry.objects.get(kind="forked").after["patched"] == ["pay"]


def test_with_the_result_of_its_own_step_it_goes_on_behind_that(durable, failed, done):
    copy = client.fork(failed, "pay", patch={"pay": "by hand"})
    durable.signal(copy, "go", "now")
    assert client.result(copy)[1:4] == ["by hand", "now", "ship kettle done"]


def test_one_that_waits_may_be_forked_and_goes_its_own_way(durable, shop):
    execution = shop.start("kettle")
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is still open"):
        client.fork(execution, 2)
    copy = client.fork(execution, "signal:go")
    durable.signal(copy, "go", "there")
    assert client.result(copy)[2] == "there"
    assert client.get(execution).status == Status.WAITING


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"from_step": "gone"}, ExecutionConflict),
        ({"from_step": 7}, ExecutionConflict),
        ({"from_step": "ship", "patch": {"gone": 1}}, InvalidOptionError),
        ({"from_step": "ship", "patch": {"signal:go": 1}}, InvalidOptionError),
        ({"from_step": "ship", "patch": {"pay": object()}}, CodecError),
        ({"from_step": "ship", "input": {"items": 1}}, TypeError),
    ],
)
def test_what_cannot_be_copied_is_refused(durable, failed, options, error):
    with pytest.raises(error):
        client.fork(failed, **options)
    assert Execution.objects.count() == 1
    assert not AuditEntry.objects.filter(kind="forked").exists()


def test_what_belongs_to_the_original_is_not_copied(durable):
    @workflow("child")
    def child(ctx, number=1):
        return number

    @workflow("parent")
    def parent(ctx):
        begun = ctx.start_child(child)
        ctx.step("between", str, 1)
        ctx.wait_for_execution(begun)
        ctx.step("then", str, 2)
        list(ctx.map(child, [1, 2]))
        ctx.step("token", ctx.signal_token("go", expires=HOUR).upper)
        ctx.step("last", str, 3)

    execution = parent.start()
    durable.run_until_idle()
    assert client.get(execution).status == Status.COMPLETED
    for step, why in (("between", "not awaited"), ("last", "children of the original")):
        with pytest.raises(ExecutionConflict, match=why):
            client.fork(execution, step)
    copy = client.fork(execution, "then")
    durable.run_until_idle()
    assert client.get(copy).status == Status.COMPLETED
    assert Execution.objects.filter(parent_id=copy.id).count() == 2


def test_a_token_that_is_still_good_leads_to_the_original(durable):
    @workflow("asks")
    def asks(ctx):
        ctx.step("mail", ctx.signal_token("go", expires=HOUR).upper)
        ctx.wait_for_signal("go")

    execution = asks.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is a token"):
        client.fork(execution, "mail")


def test_what_was_undone_is_not_copied(durable):
    @workflow("saga")
    def saga(ctx):
        ctx.step("hold", str, 1, compensate=str)
        ctx.step("pay", str, 2)
        raise ValueError

    execution = saga.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="'hold' has been undone"):
        client.fork(execution, "pay")
    with pytest.raises(ExecutionConflict, match="is the end of it"):
        client.fork(execution, "rollback:hold")
    client.fork(execution, "hold")
