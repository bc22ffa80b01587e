"""``manage.py durable_export``: one history as JSON, for its owner only."""

import json
import stat
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from django_durable import workflow
from django_durable.management.commands.durable_export import Command
from django_durable.testing import export_history


@pytest.fixture
def execution(durable):
    @workflow("export.flow")
    def flow(ctx, secret):
        ctx.note(secret)
        ctx.sleep(60)

    made = flow.start("tell no one")
    durable.run_until_idle()
    return made


def printed(*arguments):
    out = StringIO()
    call_command("durable_export", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_what_the_test_kit_exports(execution):
    assert json.loads(printed(str(execution.id))) == export_history(execution)


def test_it_writes_a_file_that_nobody_else_may_read(execution, tmp_path):
    file = tmp_path / "history.json"
    assert printed(str(execution.id), "--output", str(file)) == ""
    assert json.loads(file.read_text(encoding="utf-8")) == export_history(execution)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_alias_may_be_named(execution):
    assert json.loads(printed(str(execution.id), "--database", "default"))["id"] == str(execution.id)


def test_the_help_says_that_payloads_are_secrets():
    assert "secrets" in Command().create_parser("manage.py", "durable_export").format_help()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([str(UUID(int=0))], "No execution 00000000-0000-0000-0000-000000000000"),
        (["no-id"], "argument id: invalid UUID value: 'no-id'"),
        ([], "the following arguments are required: id"),
        ([str(UUID(int=0)), "--database", "elsewhere"], "--database: invalid choice: 'elsewhere'"),
    ],
    ids=["unknown", "no id", "none", "unknown alias"],
)
def test_what_cannot_be_exported_is_refused(arguments, told):
    with pytest.raises(CommandError, match=told):
        printed(*arguments)


def test_a_file_that_cannot_be_written_is_told(execution, tmp_path):
    with pytest.raises(CommandError, match=r"--output: .*No such file or directory"):
        printed(str(execution.id), "--output", str(tmp_path / "missing" / "history.json"))
