"""``manage.py durable``: every verb of the client, and what to look at before."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_durable import client, workflow
from django_durable.models import AuditEntry, Execution


@pytest.fixture
def waits(durable):
    @workflow("durable.waits")
    def waits(ctx, number=1):
        return ctx.wait_for_signal("go")

    return waits


@pytest.fixture
def execution(waits, durable):
    made = waits.using(key="order:7", labels={"tenant": "acme"}).start()
    durable.run_until_idle()
    return made


def printed(*arguments):
    out = StringIO()
    call_command("durable", *map(str, arguments), stdout=out)
    return out.getvalue()


def told(*arguments):
    return json.loads(printed(*arguments, "--json"))


# -- every verb ----------------------------------------------------------------------------------------

ARGUMENTS = {
    "cancel": [],
    "change_deadline": ["--deadline", "PT1H"],
    "delete": [],
    "edit_input": ["--args", "[2]"],
    "force_complete": ["--result", '{"by": "hand"}'],
    "force_fail": ["--message", "no"],
    "fork": ["--from-step", "0"],
    "patch_step": ["--step", "one", "--result", "7"],
    "pause": [],
    "reassign": ["--priority", "high", "--labels", "tenant=zeta"],
    "resolve_compensation": [],
    "restart": [],
    "resume": ["--shift-timers"],
    "retry": ["--from-step", "one"],
    "retry_compensation": [],
    "signal": ["--signal", "go", "--payload", "7"],
    "skip_compensation": [],
    "skip_step": ["--step", "0"],
    "terminate": ["--reason", "enough"],
    "update": ["--name", "rename"],
    "wake_now": [],
}
ACCEPTED = {
    "cancel",
    "change_deadline",
    "force_complete",
    "force_fail",
    "fork",
    "pause",
    "reassign",
    "signal",
    "terminate",
}


def test_every_verb_is_tried():
    assert set(ARGUMENTS) == {verb.name for verb in client.verbs()}


@pytest.mark.parametrize("verb", sorted(ACCEPTED))
def test_a_verb_is_done(execution, verb):
    assert told(verb, execution.id, *ARGUMENTS[verb]) == {
        "verb": verb,
        "done": [str(execution.id)],
        "refused": {},
        "has_more": False,
    }


@pytest.mark.parametrize("verb", sorted(set(ARGUMENTS) - ACCEPTED))
def test_a_verb_that_is_refused_says_why_and_fails(execution, verb):
    with pytest.raises(CommandError, match=r"refused|has no update"):
        printed(verb, execution.id, *ARGUMENTS[verb])


def test_who_did_it_is_written_down(execution, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    printed("pause", execution.id, "--reason", "wait")
    printed("resume", execution.id, "--actor", "grace")
    entries = AuditEntry.objects.about(execution.id).values_list("kind", "actor", "reason")
    assert list(entries) == [("paused", "cli:ada", "wait"), ("resumed", "grace", "")]


def test_the_arguments_reach_the_verb(execution, waits, durable):
    printed("reassign", execution.id, *ARGUMENTS["reassign"])
    printed("change_deadline", execution.id, "--deadline", "2126-01-31T09:30:00Z")
    row = Execution.objects.get(pk=execution.id)
    assert (row.labels, row.deadline_at.isoformat()) == ({"tenant": "zeta"}, "2126-01-31T09:30:00+00:00")
    printed("change_deadline", execution.id, "--deadline", "none")
    assert Execution.objects.get(pk=execution.id).deadline_at is None
    later = waits.using(delay=timedelta(hours=1)).start()
    printed("edit_input", later.id, "--args", "[2]")
    assert client.inspect(later).input == {"args": [2], "kwargs": {}}


# -- many ----------------------------------------------------------------------------------------------


def test_conditions_say_which(execution, waits, durable):
    waits.start()
    durable.run_until_idle()
    where = ["--where-label", "tenant=acme", "--where-status", "open"]
    assert told("pause", *where, "--dry-run")["done"] == [str(execution.id)]
    assert client.get(execution).status == "waiting"
    assert printed("pause", *where) == "pause: 1 done, 0 refused\n"
    assert client.get(execution).status == "paused"


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause"],
        ["pause", "0191d7a0-0000-7000-8000-000000000000", "--where-status", "open"],
        ["pause", "--where-status", "asleep"],
        ["change_deadline", "0191d7a0-0000-7000-8000-000000000000", "--deadline", "soon"],
        ["signal", "0191d7a0-0000-7000-8000-000000000000", "--signal", "go", "--payload", "{"],
        ["reassign", "0191d7a0-0000-7000-8000-000000000000", "--labels", "acme"],
        ["explode"],
        ["pause", "order:7"],
    ],
)
def test_a_bad_command_line_says_what_to_do(execution, arguments):
    with pytest.raises(CommandError):
        printed(*arguments)
    assert not AuditEntry.objects.exists()


# -- looking -------------------------------------------------------------------------------------------


def test_lists_go_on_where_they_ended(execution, waits):
    other = waits.start()
    first = told("list", "--size", "1")
    second = told("list", "--size", "1", "--after", first["next"])
    listed = [row["id"] for row in (*first["executions"], *second["executions"])]
    assert sorted(listed) == sorted([str(execution.id), str(other.id)])
    assert second["next"] is None
    assert f"{execution.id}  waiting" in printed("list", "--where-key", "order:7")
    assert printed("list", "--where-key", "order:8") == "none\n"


def test_a_count(execution):
    assert told("count", "--where-status", "waiting") == {"count": 1}


def test_one_execution_and_its_family(execution):
    shown = told("show", execution.id)
    assert (shown["key"], shown["history"][0]["kind"]) == ("order:7", "wait")
    assert told("family", execution.id)["execution"]["id"] == str(execution.id)


def test_the_verbs():
    assert {verb["verb"] for verb in told("verbs")} == set(ARGUMENTS)
    assert "pause" in printed("verbs")


def test_a_retry_may_undo_what_lies_behind_the_step(durable):
    done = []

    @workflow("durable.fails", on_failure="leave")
    def fails(ctx):
        ctx.step("one", lambda: "one", compensate=lambda value: done.append(f"undo {value}"))
        if not done:
            raise ValueError

    execution = fails.start()
    durable.run_until_idle()
    assert told("retry", execution.id, "--from-step", "one", "--compensate")["done"] == [str(execution.id)]
    durable.run_until_idle()
    assert (client.get(execution).status, done) == ("completed", ["undo one"])
