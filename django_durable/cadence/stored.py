"""Which parser gave a stored expression its meaning: majors of croniter have changed that of valid ones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

PARSER = "croniter"


def parser() -> dict[str, str]:
    return {"parser": PARSER, "parser_version": _installed()}


def is_reinterpreted(dumped: Mapping[str, Any]) -> bool:
    """Was it stored under another parser, or another major of it, than the one that reads it now?"""
    if dumped.get("kind") != "cron":
        return False
    return (dumped.get("parser"), _major(dumped.get("parser_version"))) != (PARSER, _major(_installed()))


def _major(given: object) -> str:
    return str(given).partition(".")[0]


@cache
def _installed() -> str:
    return version(PARSER)
