"""manage.py durable_replay: what a deploy of this code would break, found before it is one."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.engine import recordings, survey
from django_durable.engine.recordings import Recording
from django_durable.engine.survey import Finding, Verdict
from django_durable.management import arguments
from django_durable.models import Execution

BAD_USAGE = 2  # exit status; 1: something would break


def at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


class Command(BaseCommand):
    help = (
        "Replay recorded histories on this code and name the executions that a deploy of it would break. The workflow "
        "functions run, as in every replay; no step does, and nothing is written. Exit status 1 if any would break."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--all-live", action="store_true", help="All that have not ended; the default.")
        which.add_argument("--last", type=at_least_one, metavar="N", help="The newest N, those that have ended too.")
        which.add_argument(
            "--file",
            action="append",
            dest="files",
            metavar="FILE",
            help="What durable_export wrote, instead of a database; - is standard input. May be repeated.",
        )
        parser.add_argument(
            "--workflow", action="append", dest="workflows", metavar="NAME", help="Only this one; may be repeated."
        )
        arguments.add_database(parser, dest="using")

    def handle(self, *args: Any, **options: Any) -> None:
        found = self._in_files(options) if options["files"] else self._in_database(options)
        counts = Counter(self._told(name, finding) for name, finding in found)
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
        self.stdout.write(f"checked {counts.total()}: {told}")
        if counts.total() > counts[Verdict.FITS]:
            sys.exit(1)

    def _told(self, name: str, finding: Finding) -> Verdict:
        if finding.verdict is not Verdict.FITS:
            of = f"{finding.recording.workflow} version {finding.recording.version}"
            self.stdout.write(f"{name} {of}: {finding.verdict}: {finding.reason}")
        return finding.verdict

    # -- where from --------------------------------------------------------------------------------

    def _in_database(self, options: dict[str, Any]) -> Iterator[tuple[str, Finding]]:
        using, workflows = options["using"] or get_settings().database, options["workflows"] or ()
        _refuse_unknown(workflows, using)
        limit = options["last"]
        if limit is None:
            ids = survey.live(using=using, workflows=workflows)
        else:
            ids = survey.newest(limit, using=using, workflows=workflows)
        for execution_id in ids:
            finding = survey.look_at(execution_id, using=using, is_live=limit is None)
            if finding is not None:
                yield str(execution_id), finding

    def _in_files(self, options: dict[str, Any]) -> Iterator[tuple[str, Finding]]:
        if options["workflows"] or options["using"]:
            raise _bad_usage("--file takes neither --workflow nor --database: it needs no database.")
        read = [(name, _recording(name)) for name in options["files"]]  # a bad one is told before anything else
        for name, recording in read:
            yield name, survey.judge(recording)


def _refuse_unknown(workflows: Iterable[str], using: str) -> None:
    """A misspelt name would check nothing, and pass."""
    registered = {definition.name for definition in registry}
    for name in workflows:
        if name not in registered and not Execution.objects.using(using).filter(workflow=name).exists():
            raise _bad_usage(f"--workflow {name}: none is registered under that name, and no execution has it.")


def _recording(name: str) -> Recording:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return recordings.imported(json.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        raise _bad_usage(f"--file {name}: {error}") from error


def _bad_usage(message: str) -> CommandError:
    return CommandError(message, returncode=BAD_USAGE)
