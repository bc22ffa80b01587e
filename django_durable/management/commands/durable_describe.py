"""manage.py durable_describe: the shapes of workflows, told without running them. No database needed."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_durable.definitions import registry
from django_durable.describe import Shape
from django_durable.exceptions import SourceUnavailableError


class Command(BaseCommand):
    help = "Show which durable calls workflows make, on all branches, without running them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="Workflow names; default all that are registered.")
        parser.add_argument("--format", choices=("tree", "json", "mermaid"), default="tree", help="Default tree.")

    def handle(self, *args: Any, **options: Any) -> None:
        infos = registry.workflows()
        known = sorted({info.name for info in infos})
        for name in options["names"]:
            if name not in known:
                raise CommandError(_unknown(name, known))
        chosen = [info for info in infos if info.name in (options["names"] or known)]
        try:
            shapes = [registry.find(info.name, info.version).describe() for info in chosen]
        except SourceUnavailableError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps([shape.as_dict() for shape in shapes], indent=2))
        elif options["format"] == "mermaid":
            self.stdout.write("\n".join(f"%% {_title(shape)}\n{shape.mermaid()}" for shape in shapes))
        else:
            trees = [_tree(shape, info.doc) for shape, info in zip(shapes, chosen, strict=True)]
            self.stdout.write("\n".join(trees) or "no workflow is registered")


def _title(shape: Shape) -> str:
    return f"{shape.workflow} version {shape.version}, {shape.function}"


def _tree(shape: Shape, doc: str) -> str:
    lines = [*([doc] if doc else []), *shape.outline().splitlines()]
    return "\n".join([_title(shape), *(f"    {line}" for line in lines), ""])


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=5, cutoff=0.5) or known
    return f"No workflow {name!r} is registered. " + (f"Did you mean {', '.join(near)}?" if near else "None is.")
