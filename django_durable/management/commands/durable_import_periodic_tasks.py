"""manage.py durable_import_periodic_tasks: make schedules of periodic tasks of django-celery-beat, one at a time."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable.exceptions import DurableError
from django_durable.management import arguments
from django_durable.management.periodic_tasks import Found, make, periodic_tasks


class Command(BaseCommand):
    help = (
        "List the periodic tasks of django-celery-beat and what they would be as schedules. With --map, make schedules "
        "of those; the periodic tasks stay as they are unless --disable is given."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        arguments.add_database(parser)
        parser.add_argument(
            "--map", action="append", default=[], metavar="TASK=WORKFLOW", help="Which workflow stands for which task."
        )
        parser.add_argument("--only", metavar="NAME", help="The periodic task of that name alone.")
        parser.add_argument("--disable", action="store_true", help="Disable each that was made a schedule of.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = dict(_pair(text) for text in options["map"])
        if options["disable"] and not wanted:
            raise CommandError("--disable goes with --map: say which workflow stands for it.")
        found = [one for one in periodic_tasks() if options["only"] in (None, one.task.name)]
        if not found and options["only"]:
            raise CommandError(f"No periodic task is called {options['only']!r}.")
        rows = [self._import(one, wanted.get(one.task.task), options) for one in found]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=1))
        else:
            self.stdout.write("\n".join(map(_line, rows)) or "none")
        if failed := [row["periodic_task"] for row in rows if row["done"] == "refused"]:
            raise CommandError(f"{len(failed)} could not be made a schedule: {', '.join(failed)}.")

    def _import(self, found: Found, workflow: str | None, options: Any) -> dict[str, Any]:
        if workflow is None:
            return {**found.told, "done": ""}
        if found.refused:
            return {**found.told, "done": "refused"}
        actor = f"cli:{getpass.getuser()}"
        try:
            done = make(found, workflow, disables=options["disable"], actor=actor, using=options["database"])
        except (DurableError, TypeError, ValueError) as error:
            return {**found.told, "refused": str(error), "done": "refused"}
        return {**found.told, "workflow": workflow, "enabled": found.task.enabled, "done": done}


def _pair(text: str) -> tuple[str, str]:
    task, separator, workflow = text.partition("=")
    if not (task and separator and workflow):
        raise CommandError(f"--map {text!r}: give TASK=WORKFLOW.")
    return task, workflow


def _line(row: dict[str, Any]) -> str:
    state = "enabled" if row["enabled"] else "disabled"
    if row["refused"]:
        return f"{row['periodic_task']} ({row['task']}, {state}): no schedule: {row['refused']}"
    done = f" {row['done']}" if row["done"] else ""
    return f"{row['periodic_task']} ({row['task']}, {state}): schedule {row['schedule']!r}{done}: {row['when']}"
