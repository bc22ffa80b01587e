"""manage.py durable: find executions, look at them, and give the orders of the client."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from django_durable import client
from django_durable.client.bulk import ORDERS, give_each
from django_durable.engine.filters import Filter
from django_durable.engine.orders import VERBS
from django_durable.exceptions import DurableError
from django_durable.management import arguments
from django_durable.models import Execution

Told = tuple[Any, str]
_SHOWN = ("id", "workflow", "status", "stuck_reason", "key", "queue", "waiting_for", "created_at", "finished_at")


class Command(BaseCommand):
    help = "Find executions, look at them, and act on them: `durable list`, `durable show ID`, `durable pause ID`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
        for name, (_, about) in _READS.items():
            reading = commands.add_parser(name, help=about, description=about)
            _add_common(reading)
            _READ_ARGUMENTS[name](reading)
        for name, order in sorted(ORDERS.items()):
            giving = commands.add_parser(name, help=_about(name), description=_about(name))
            _add_common(giving)
            _add_targets(giving)
            arguments.declare(giving, order)

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        try:
            told, text = _READS[verb][0](options) if verb in _READS else _order(verb, options)
        except (DurableError, TypeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(told, cls=_Readable, indent=1) if options["json"] else text)
        if verb in ORDERS and told["refused"]:
            raise CommandError(f"{len(told['refused'])} refused.")


# -- looking: each gives what is told as JSON, and as text ----------------------------------------------


def _list(options: Mapping[str, Any]) -> Told:
    where = Filter.from_text(_conditions(options))
    page = client.page(where, after=options["after"], size=options["size"], using=options["using"])
    rows = [_row(execution) for execution in page.rows]
    lines = [
        f"{row['id']}  {row['status']:20} {row['workflow']:30} {row['key'] or '':30} {row['waiting_for']}"
        for row in rows
    ]
    if page.next is not None:
        lines.append(f"more: --after {page.next}")
    return {"executions": rows, "next": page.next}, "\n".join(lines) or "none"


def _count(options: Mapping[str, Any]) -> Told:
    counted = client.count(Filter.from_text(_conditions(options)), using=options["using"])
    return {"count": counted}, str(counted)


def _show(options: Mapping[str, Any]) -> Told:
    return _as_it_is(asdict(client.inspect(options["id"], using=options["using"])))


def _family(options: Mapping[str, Any]) -> Told:
    family = client.family(options["id"], using=options["using"])
    return _as_it_is({field.name: _rows(getattr(family, field.name)) for field in fields(family)})


def _verbs(options: Mapping[str, Any]) -> Told:
    known = [{"verb": verb.name, "accepts": sorted(verb.accepts), "does": _about(verb.name)} for verb in client.verbs()]
    return known, "\n".join(f"{verb['verb']:22} {', '.join(verb['accepts'])}" for verb in known)


def _as_it_is(told: dict[str, Any]) -> Told:
    return told, json.dumps(told, cls=_Readable, indent=1)


_READS: dict[str, tuple[Callable[[Mapping[str, Any]], Told], str]] = {
    "list": (_list, "Executions that fit, newest first."),
    "count": (_count, "How many fit, up to 1,000."),
    "show": (_show, "Everything about one execution."),
    "family": (_family, "Its parents, children and successors."),
    "verbs": (_verbs, "Which order is accepted in which status."),
}


# -- acting --------------------------------------------------------------------------------------------


def _order(verb: str, options: Mapping[str, Any]) -> Told:
    conditions = _conditions(options)
    if bool(options["ids"]) == bool(conditions):
        raise CommandError("Name executions by their ids, or by conditions such as --where-status stuck; not both.")
    given = {"using": options["using"], **arguments.given(ORDERS[verb], options)}
    if conditions:
        where = Filter.from_text(conditions)
        report = client.bulk(verb, where, limit=options["limit"], dry_run=options["dry_run"], **given)
    else:
        report = give_each(verb, options["ids"], **given)
    refused = {str(execution_id): why for execution_id, why in report.refused.items()}
    lines = [f"{verb}: {len(report.done)} done, {len(refused)} refused{', more to do' * report.has_more}"]
    lines += [f"{execution_id} refused: {why}" for execution_id, why in refused.items()]
    return {**asdict(report), "refused": refused}, "\n".join(lines)


def _about(name: str) -> str:
    verb = VERBS[name]
    return f"{verb.does[0].upper()}{verb.does[1:]}{f', if {verb.only_if}' if verb.only_if else ''}."


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    arguments.add_database(parser, dest="using")


def _add_targets(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=UUID, metavar="ID", help="Executions; or say which by conditions.")
    _add_filter(parser)
    parser.add_argument("--limit", type=int, default=1000, help="With conditions: at most so many; default 1000.")
    parser.add_argument("--dry-run", action="store_true", help="With conditions: only say which.")
    parser.add_argument("--actor", default="", help="Who orders it; default cli: and the user of this process.")


def _add_page(parser: ArgumentParser) -> None:
    _add_filter(parser)
    parser.add_argument("--size", type=int, default=50, help="At most so many; default 50.")
    parser.add_argument("--after", metavar="CURSOR", help="Go on behind an earlier page.")


def _add_id(parser: ArgumentParser) -> None:
    parser.add_argument("id", type=UUID, help="Of the execution.")


_CONDITIONS = [field.name for field in fields(Filter) if field.name != "labels"]


def _add_filter(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("conditions", "Several statuses are separated by commas; times are ISO 8601.")
    for name in _CONDITIONS:
        group.add_argument(f"--where-{name.replace('_', '-')}", dest=f"where_{name}", metavar="TEXT")
    group.add_argument("--where-label", dest="where_label", action="append", metavar="NAME=VALUE")


_READ_ARGUMENTS: dict[str, Callable[[ArgumentParser], None]] = {
    "list": _add_page,
    "count": _add_filter,
    "show": _add_id,
    "family": _add_id,
    "verbs": lambda parser: None,
}


def _conditions(options: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {name: options.get(f"where_{name}") for name in (*_CONDITIONS, "label")}
    return {name: text for name, text in wanted.items() if text}


def _rows(value: Any) -> Any:
    if isinstance(value, Execution):
        return _row(value)
    return [_row(execution) for execution in value] if isinstance(value, tuple) else value


def _row(execution: Execution) -> dict[str, Any]:
    return {name: getattr(execution, name) for name in _SHOWN}


class _Readable(DjangoJSONEncoder):
    """For people: what a payload holds may be no JSON."""

    def default(self, value: Any) -> Any:
        try:
            return super().default(value)
        except TypeError:
            return str(value)
