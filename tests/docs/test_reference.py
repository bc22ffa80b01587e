"""docs/reference.md names everything that is public, so that it cannot fall behind the code."""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.core.management import BaseCommand, load_command_class
from django.dispatch import Signal

import django_durable
from django_durable import checks, client, context, definitions, exceptions, signals, testing
from django_durable.conf import Settings
from django_durable.engine.snapshot import Snapshot, StepSnapshot
from django_durable.models import Status
from django_durable.testing import DurableKit, ReplayReport
from tests.docs.blocks import ROOT

REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
COMMANDS = sorted(path.stem for path in (ROOT / "django_durable/management/commands").glob("durable_*.py"))


def words_in(markdown: str) -> set[str]:
    """Every word inside backticks."""
    return {word for code in re.findall(r"`([^`]+)`", markdown) for word in re.findall(r"[\w.]+", code)}


WORDS = words_in(REFERENCE)
NAMES = WORDS | {word.lstrip(".") for word in WORDS}


def public_members(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def public_functions(module: Any) -> set[str]:
    found = inspect.getmembers(module, inspect.isfunction)
    return {name for name, value in found if value.__module__.startswith(module.__name__) and not name.startswith("_")}


def public_signals() -> set[str]:
    return {name for name, value in vars(signals).items() if isinstance(value, Signal) and not name.startswith("_")}


def declared_exceptions() -> set[str]:
    found = inspect.getmembers(exceptions, inspect.isclass)
    return {name for name, value in found if value.__module__.startswith("django_durable.")}


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({field.name.upper() for field in fields(Settings)}, id="settings"),
        pytest.param(set(django_durable.__all__), id="authoring"),
        pytest.param(set(testing.__all__), id="test kit"),
        pytest.param(public_members(DurableKit), id="DurableKit"),
        pytest.param(public_members(context.Context), id="Context"),
        pytest.param(public_functions(client), id="client"),
        pytest.param(declared_exceptions(), id="exceptions"),
        pytest.param(set(COMMANDS), id="commands"),
        pytest.param(public_signals(), id="Django signals"),
        pytest.param({status.value for status in Status}, id="statuses"),
        pytest.param(
            {field.name for cls in (Snapshot, StepSnapshot, ReplayReport) for field in fields(cls)}, id="data"
        ),
    ],
)
def test_names_every(wanted: set[str]) -> None:
    assert wanted, "nothing was found in the code"
    assert not wanted - NAMES


def test_check_ids_are_those_of_the_code() -> None:
    in_code = set(re.findall(r'id="(durable\.[EW]\d{3})"', inspect.getsource(checks)))
    assert in_code
    assert in_code == set(re.findall(r"`(durable\.[EW]\d{3})`", REFERENCE))


def test_setting_defaults_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", REFERENCE, re.MULTILINE))
    shown = {name.lower(): eval(default, {"__builtins__": {}}) for name, default in rows.items()}
    settings = Settings()
    assert shown == {field.name: getattr(settings, field.name) for field in fields(Settings)}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_options_are_those_of_the_code(name: str) -> None:
    parser = load_command_class("django_durable", name).create_parser("manage.py", name)
    plain = BaseCommand().create_parser("manage.py", "plain")
    common = {option for action in plain._actions for option in action.option_strings}
    own = {option for action in parser._actions for option in action.option_strings} - common
    row = next(line for line in REFERENCE.splitlines() if line.startswith(f"| `manage.py {name}`"))
    assert own == set(re.findall(r"--[\w-]+", row.split("|")[2]))


@pytest.mark.parametrize(
    ("function", "heading"),
    [(definitions.workflow, "@workflow"), (definitions.step, "@step"), (django_durable.Retry.__init__, "Retry")],
)
def test_headings_name_every_parameter(function: Any, heading: str) -> None:
    line = next(line for line in REFERENCE.splitlines() if line.startswith(f"### `{heading}"))
    if heading == "@step":  # its real parameters are those of the definition
        wanted = {"name", "retry", "timeout", "atomic", "raises", "at_most_once"}
    else:
        wanted = set(inspect.signature(function).parameters) - {"self"}
    assert not wanted - words_in(line)


def test_using_names_every_option() -> None:
    options = set(inspect.signature(definitions.WorkflowDefinition.using).parameters) - {"self"}
    part = REFERENCE.partition("Options of `using`")[2].partition("###")[0]
    assert not options - words_in(part)


@pytest.mark.parametrize("name", sorted(public_functions(client)))
def test_client_rows_name_every_parameter(name: str) -> None:
    row = next(line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}("))
    wanted = set(inspect.signature(getattr(client, name)).parameters) - {"using"}
    assert not wanted - words_in(row.split("|")[1])


def test_no_path_in_code_names_a_missing_page() -> None:
    for source in Path(ROOT / "django_durable").rglob("*.py"):
        for page in re.findall(r"docs/[\w/]+\.md", source.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{source.name} mentions {page}"
