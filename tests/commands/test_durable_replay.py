"""``manage.py durable_replay``: what a deploy of today's code would break, by name, and nothing is touched."""

import io
import json
import sys
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from django.db import DatabaseError, connection, transaction

from django_durable import Retry, client, clock, step, workflow
from django_durable.definitions import registry
from django_durable.engine import survey, worker
from django_durable.models import Execution, Step, Timer
from django_durable.testing import export_history
from django_durable.testing.faults import DatabaseCalls, watch_database
from tests.authoring import TABLES, Deployed, no_op
from tests.replay import samples
from tests.replay.test_recorded_histories import FILES


def replayed(*arguments):
    """Exit status and lines."""
    out = StringIO()
    try:
        call_command("durable_replay", *arguments, stdout=out)
    except SystemExit as ended:
        return ended.code, out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def summary(fit=0, stuck=0, fail=0, unknown=0):
    counts = f"{fit} fit, {stuck} would be stuck, {fail} would fail, {unknown} unknown code"
    return f"checked {fit + stuck + fail + unknown}: {counts}"


def original(ctx, *_):
    ctx.step("first", no_op)
    ctx.sleep(3600)


def changed(ctx, *_):
    ctx.step("other", no_op)
    ctx.sleep(3600)


@pytest.fixture
def flow():
    return Deployed("replay.flow", original)


@pytest.fixture
def parked(durable, flow):
    """Five that sleep, oldest first."""
    made = [flow.workflow.start() for _ in range(5)]
    durable.run_until_idle()
    return made


# -- what it tells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--all-live"], ["--workflow", "replay.flow"], ["--last", "9"]], ids=str)
def test_code_that_fits_everything_passes(parked, arguments):
    assert replayed(*arguments) == (0, [summary(fit=5)])


@pytest.mark.django_db
def test_with_nothing_to_check_it_passes():
    assert replayed() == (0, [summary()])


def test_each_that_would_be_stuck_has_a_line_newest_first(flow, parked, monkeypatch):
    monkeypatch.setattr(survey, "BATCH", 2)
    flow.code = changed

    status, lines = replayed()

    line = changed.__code__.co_firstlineno + 1
    difference = f"Position 0: the history has step 'first', the code asked for step 'other' at {__file__}:{line}."
    assert status == 1
    assert lines == [
        *(f"{run.id} replay.flow version 1: would be stuck: {difference}" for run in reversed(parked)),
        summary(stuck=5),
    ]


def test_it_tells_what_the_engine_would_record(durable, flow, parked):
    flow.code = changed
    told = replayed()[1][0].partition("would be stuck: ")[2]
    durable.advance(timedelta(hours=1))
    assert told in client.inspect(parked[-1]).error


def test_code_that_is_gone_is_told_with_what_there_is(durable):
    workflow("replay.versions", version=2)(original)
    workflow("replay.versions", version=3)(original)
    with registry.isolated():
        first, second = (workflow(name)(original).start() for name in ("replay.gone", "replay.versions"))
        durable.run_until_idle()

    assert replayed() == (
        1,
        [
            f"{second.id} replay.versions version 1: unknown code: registered under that name: version 2, 3",
            f"{first.id} replay.gone version 1: unknown code: no workflow of that name is registered",
            summary(unknown=2),
        ],
    )


def test_a_parameter_too_many_would_fail_those_that_have_not_begun(flow, durable):
    begun = flow.workflow.start()
    durable.run_until_idle()
    pending = flow.workflow.start()

    def code(ctx, needed):
        pytest.fail("it was called without what it needs")

    flow.code = code
    status, lines = replayed()

    told = "missing 1 required positional argument: 'needed'"
    assert status == 1
    assert lines[0].startswith(f"{pending.id} replay.flow version 1: would fail: TypeError: ")
    assert lines[1].startswith(f"{begun.id} replay.flow version 1: would be stuck: Position 0: ")
    assert all(told in line for line in lines[:2])
    assert lines[2] == summary(stuck=1, fail=1)


def test_one_that_had_failed_at_once_before_fits(flow, durable):
    def code(ctx):
        raise ValueError("always")

    flow.code = code
    flow.workflow.start()
    durable.run_until_idle()
    assert replayed("--last", "1") == (0, [summary(fit=1)])


def test_swallowed_control_flow_and_unreadable_payloads_have_a_line_of_their_own(flow, parked, durable):
    def careless(ctx):
        ctx.step("first", no_op)
        try:
            ctx.sleep(3600)
        except BaseException:
            return "went on"

    flow.code = careless
    unreadable = '[1,{"$object":["gone.Class",{}]}]'
    Step.objects.filter(execution_id=parked[0].id, name="first").update(result=unreadable)
    Execution.objects.filter(pk=parked[1].id).update(input=unreadable)

    status, lines = replayed()

    assert status == 1
    assert ["The workflow caught Suspend" in line for line in lines] == [True, True, True, False, False, False]
    assert ["gone.Class" in line for line in lines] == [False, False, False, True, True, False]
    assert lines[-1] == summary(stuck=5)


def test_a_reason_is_one_line_whatever_the_error_says(flow, durable):
    flow.workflow.start()

    def code(ctx):
        raise ValueError("one\ntwo\r\n\tthree")

    flow.code = code
    assert replayed()[1][0].endswith("would fail: ValueError: one two three")


# -- which it looks at ---------------------------------------------------------------------------------


def test_live_ones_are_all_that_have_not_ended(durable, flow, parked):
    client.terminate(parked[0])
    client.cancel(parked[1])
    flow.code = changed
    assert replayed()[1][-1] == summary(stuck=4)
    assert replayed("--last", "5")[1][-1] == summary(stuck=5)


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (4, 4), (6, 5)])
def test_last_takes_the_newest(flow, parked, monkeypatch, limit, count):
    monkeypatch.setattr(survey, "BATCH", 3)
    flow.code = changed
    lines = replayed("--last", str(limit))[1]
    assert [line.split()[0] for line in lines[:-1]] == [str(run.id) for run in reversed(parked)][:count]


def test_workflows_may_be_named(durable):
    names = ("replay.a", "replay.b", "replay.c")
    for name in names:
        Deployed(name, original).workflow.start()
    durable.run_until_idle()
    assert replayed("--workflow", "replay.a", "--workflow", "replay.c") == (0, [summary(fit=2)])
    assert replayed("--workflow", "replay.b", "--last", "5") == (0, [summary(fit=1)])


def test_a_name_whose_code_is_gone_may_be_asked_for(durable):
    with registry.isolated():
        workflow("replay.gone")(original).start()
    assert replayed("--workflow", "replay.gone")[1][-1] == summary(unknown=1)


def test_the_alias_may_be_named(parked):
    assert replayed("--database", "default") == (0, [summary(fit=5)])


# -- files ---------------------------------------------------------------------------------------------


def test_every_history_that_a_release_recorded_fits():
    assert len(FILES) >= 8
    assert samples.order.name == "samples.order"  # they are registered
    files = [argument for file in FILES for argument in ("--file", str(file))]
    assert replayed(*files) == (0, [summary(fit=len(FILES))])


def test_a_file_needs_no_database(flow, tmp_path):
    file = tmp_path / "history.json"
    file.write_text(
        json.dumps(
            {
                "format": 1,
                "id": str(UUID(int=1)),
                "workflow": "replay.flow",
                "version": 1,
                "input": '[1,{"args":[],"kwargs":{}}]',
                "status": "waiting",
                "history": [],
            }
        )
    )
    assert replayed("--file", str(file)) == (0, [summary(fit=1)])


def test_an_export_goes_from_one_command_to_the_other(flow, parked, tmp_path, monkeypatch):
    file = tmp_path / "history.json"
    call_command("durable_export", str(parked[0].id), output=str(file))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(export_history(parked[1]))))
    flow.code = changed

    status, lines = replayed("--file", str(file), "--file", "-")

    assert status == 1
    assert lines[0].startswith(f"{file} replay.flow version 1: would be stuck: Position 0: ")
    assert lines[1].startswith("- replay.flow version 1: would be stuck: Position 0: ")
    assert lines[2] == summary(stuck=2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("[]", "This is no exported history of format 1"),
        ('{"format": 2}', "its format is 2"),
        ("\xff", "codec can't decode"),
        ("9" * 5000, "Exceeds the limit"),
    ],
    ids=["empty", "no JSON", "nested too deep", "list", "another format", "no text", "a long number"],
)
def test_a_file_that_is_no_history_is_bad_usage(tmp_path, text, told):
    file = tmp_path / "history.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError, match=told) as refused:
        replayed("--file", str(file))
    assert refused.value.returncode == 2
    assert str(file) in str(refused.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--file", "missing.json"], "--file missing.json: .*No such file"),
        (["--file", "a.json", "--workflow", "replay.flow"], "--file takes neither --workflow nor --database"),
        (["--file", "a.json", "--database", "default"], "--file takes neither --workflow nor --database"),
        (["--workflow", "replay.misspelt"], "--workflow replay.misspelt: none is registered"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_of_no_use_are_bad_usage(arguments, told):
    with pytest.raises(CommandError, match=told) as refused:
        replayed(*arguments)
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--last", "0"],
        ["--last", "-1"],
        ["--last", "many"],
        ["--last", "1", "--all-live"],
        ["--last", "1", "--file", "-"],
        ["--all-live", "--file", "-"],
        ["--database", "elsewhere"],
        ["--file", "missing.json"],
        ["history.json"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_the_process_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", "durable_replay", *arguments]).execute()
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


# -- nothing is touched --------------------------------------------------------------------------------

READ_ONLY = {  # every later transaction of the session
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
}


@contextmanager
def read_only_database():
    begin, end = READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)


def contents():
    return {model.__name__: sorted(model.objects.values_list(), key=str) for model in TABLES}


@pytest.fixture
def in_every_state(transactional_db, polling):
    """One execution wherever one can rest, closed ones too. A body that runs from now on fails the test."""
    is_over = False

    def body():
        if is_over:
            pytest.fail("a body ran")  # no Exception, which would be the step's own

    @step(name="retried", retry=Retry(initial_seconds=60))
    def retried():
        body()
        raise OSError("not yet")

    waits = {
        "sleep": lambda ctx: ctx.sleep(3600),
        "wait": lambda ctx: ctx.wait_for_signal("go", timeout=3600),
        "retry": lambda ctx: ctx.step(retried),
        "nothing": lambda ctx: None,
    }

    def code(ctx, where):
        ctx.step("before", body)
        waits[where](ctx)
        ctx.step("atomic", step(atomic=True)(body))
        ctx.note("after")
        ctx.now()

    flow = Deployed("replay.states", code)
    resting = {
        name: flow.workflow.start(where)
        for name, where in {
            **{where: where for where in waits},
            **{"overslept": "sleep", "cancelled": "sleep", "late": "wait", "signalled": "wait", "retry due": "retry"},
        }.items()
    }
    worker.drain("default", using="default")
    past = clock.now() - timedelta(hours=1)
    Step.objects.filter(execution_id__in=[resting[name].id for name in ("overslept", "retry due")]).unsettled().update(
        due_at=past
    )
    Execution.objects.filter(pk=resting["late"].id).update(deadline_at=past)
    Timer.objects.filter(pk=resting["retry due"].id).update(token=uuid4(), holder="its:worker:died", due_at=past)
    client.cancel(resting["cancelled"].id)
    client.signal(resting["signalled"].id, "go", 1)
    flow.workflow.start("nothing")
    is_over = True
    states = set(Execution.objects.values_list("status", flat=True))
    assert states == {"pending", "sleeping", "waiting", "retrying", "cancelling", "completed"}
    return flow


@pytest.mark.usefixtures("in_every_state")
@pytest.mark.parametrize("arguments", [[], ["--last", "50"]], ids=["live", "closed too"])
def test_it_reads_without_a_lock_or_a_transaction_and_no_row_changes(arguments):
    before = contents()
    with watch_database(DatabaseCalls()) as calls:
        status, lines = replayed(*arguments)
    assert status == 0, lines
    assert len(calls.seen) > 3 * Timer.objects.count()
    assert [call for call in calls.seen if not call.startswith("SELECT") or call.endswith("FOR UPDATE")] == []
    assert contents() == before


def test_a_database_that_may_only_be_read_is_enough(in_every_state):
    count = Timer.objects.count()
    with read_only_database():
        with pytest.raises(DatabaseError):
            Timer.objects.update(claims=7)
        fits = replayed()
        in_every_state.code = changed
        breaks = replayed()
    assert fits == (0, [summary(fit=count)])
    assert breaks[0] == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL: one transaction that may only read")
@pytest.mark.usefixtures("in_every_state")
def test_one_read_only_transaction_around_it_all_is_enough():
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        assert replayed()[0] == 0


def test_memory_holds_a_page_of_ids_and_one_execution(flow, parked, monkeypatch, django_assert_num_queries):
    """Pages of two: three with ids and one that is empty, and three SELECTs for each execution."""
    monkeypatch.setattr(survey, "BATCH", 2)
    with django_assert_num_queries(4 + 3 * 5):
        replayed()
