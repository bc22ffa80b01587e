"""manage.py durable_schedules: look at schedules, and steer them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from django_durable import client
from django_durable.cadence import load
from django_durable.exceptions import DurableError, InvalidOptionError
from django_durable.management import arguments
from django_durable.models import Schedule, ScheduleTick

Told = tuple[Any, str]
Options = Mapping[str, Any]


class Command(BaseCommand):
    help = "Look at schedules and steer them: `durable_schedules list`, `durable_schedules pause NAME`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
        for name, (_, about) in _READS.items():
            reading = commands.add_parser(name, help=about, description=about)
            _add_common(reading)
            _READ_ARGUMENTS[name](reading)
        for name, (order, about) in _ORDERS.items():
            giving = commands.add_parser(name, help=about, description=about)
            _add_common(giving)
            _add_name(giving)
            giving.add_argument("--actor", default="", help="Who orders it; default cli: and the user of this process.")
            arguments.declare(giving, order)

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        try:
            told, text = _READS[verb][0](options) if verb in _READS else _order(verb, options)
        except (DurableError, TypeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(told, cls=DjangoJSONEncoder, indent=1) if options["json"] else text)


# -- looking -------------------------------------------------------------------------------------------


def _list(options: Options) -> Told:
    conditions = {name: options[name] for name in ("workflow", "status", "name_prefix")}
    page = client.schedules(**conditions, after=options["after"], size=options["size"], using=options["using"])
    rows = [_row(schedule) for schedule in page.rows]
    lines = [f"{row['name']:30} {row['status']:7} {row['next_at'] or '-'!s:26} {row['cadence']}" for row in rows]
    if page.next is not None:
        lines.append(f"more: --after {page.next}")
    return {"schedules": rows, "next": page.next}, "\n".join(lines) or "none"


def _show(options: Options) -> Told:
    schedule = client.get_schedule(options["name"], using=options["using"])
    told = {**_row(schedule), **{name: getattr(schedule, name) for name in _MORE_SHOWN}}
    return told, "\n".join(f"{name:22} {value if value is not None else '-'}" for name, value in told.items())


def _ticks(options: Options) -> Told:
    page = client.schedule_ticks(
        options["name"],
        outcome=options["outcome"],
        after=options["after"],
        size=options["size"],
        using=options["using"],
    )
    rows = [_tick(tick) for tick in page.rows]
    return {"ticks": rows, "next": page.next}, "\n".join(map(_tick_line, rows)) or "none"


def _preview(options: Options) -> Told:
    times = client.preview_schedule(options["name"], options["count"], using=options["using"])
    return {"times": times}, "\n".join(map(str, times)) or "none"


_READS: dict[str, tuple[Callable[[Options], Told], str]] = {
    "list": (_list, "Schedules by name, with their next time."),
    "show": (_show, "All about one schedule, but its arguments."),
    "ticks": (_ticks, "What became of its times, the latest first."),
    "preview": (_preview, "The next times at which it starts something."),
}


# -- acting --------------------------------------------------------------------------------------------

_ORDERS: dict[str, tuple[Callable[..., Any], str]] = {
    "pause": (client.pause_schedule, "Start nothing until it is resumed."),
    "resume": (client.resume_schedule, "Go on with the next time to come."),
    "trigger": (client.trigger_schedule, "Start now what it starts, beside its regular ticks."),
    "backfill": (client.backfill_schedule, "Start what it would have started, where it has not."),
    "remove": (client.remove_schedule, "Forget it and its ticks; what it has started stays."),
}


def _order(verb: str, options: Options) -> Told:
    given = arguments.given(_ORDERS[verb][0], options)
    done = _ORDERS[verb][0](options["name"], **given, using=options["using"])
    if isinstance(done, Schedule):
        return _row(done), f"{verb}: {done.name} is {done.status}, next {done.next_at or 'never'}"
    if isinstance(done, ScheduleTick):
        return _tick(done), _tick_line(_tick(done))
    if isinstance(done, client.Backfilled):
        rows = [_tick(tick) for tick in done.ticks]
        refused = {at.isoformat(): why for at, why in done.refused.items()}
        lines = [*map(_tick_line, rows), *(f"{at}  refused: {why}" for at, why in refused.items())]
        return {"ticks": rows, "refused": refused}, "\n".join(lines) or "none"
    return {"removed": options["name"]}, f"{verb}: {options['name']}"


# -- telling -------------------------------------------------------------------------------------------

_SHOWN = ("name", "workflow", "status", "next_at", "last_at", "runs", "overlap", "catch_up", "is_declared")
_MORE_SHOWN = (
    "id",
    "timezone",
    "paused_at",
    "paused_by",
    "paused_reason",
    "failures",
    "buffered",
    "starts_at",
    "ends_at",
    "max_runs",
    "jitter_seconds",
    "catch_up_seconds",
    "pause_after_failures",
    "excluded",
    "queue",
    "labels",
    "key",
    "created_at",
    "updated_at",
)


def _row(schedule: Schedule) -> dict[str, Any]:
    return {**{name: getattr(schedule, name) for name in _SHOWN}, "cadence": _sentence(schedule)}


def _sentence(schedule: Schedule) -> str:
    try:
        return load(json.loads(schedule.cadence)).describe()
    except InvalidOptionError as error:  # stored by another release
        return f"unreadable: {error}"


def _tick(tick: ScheduleTick) -> dict[str, Any]:
    names = ("nominal_at", "until_at", "count", "kind", "outcome", "reason", "execution_id")
    return {name: getattr(tick, name) for name in names}


def _tick_line(row: Mapping[str, Any]) -> str:
    many = f" x {row['count']}" if row["count"] > 1 else ""
    return f"{row['nominal_at']}  {row['kind']:10} {row['outcome']}{many}  {row['execution_id'] or row['reason']}"


# -- arguments -----------------------------------------------------------------------------------------


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    arguments.add_database(parser, dest="using")


def _add_name(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="Of the schedule.")


def _add_page(parser: ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=50, help="At most so many; default 50.")
    parser.add_argument("--after", metavar="CURSOR", help="Go on behind an earlier page.")


def _add_list(parser: ArgumentParser) -> None:
    _add_page(parser)
    for name in ("workflow", "status", "name_prefix"):
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help="Only those.")


def _add_ticks(parser: ArgumentParser) -> None:
    _add_name(parser)
    _add_page(parser)
    parser.add_argument("--outcome", metavar="TEXT", help="Only those.")


def _add_preview(parser: ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("--count", type=int, default=5, help="How many; default 5.")


_READ_ARGUMENTS: dict[str, Callable[[ArgumentParser], None]] = {
    "list": _add_list,
    "show": _add_name,
    "ticks": _add_ticks,
    "preview": _add_preview,
}
