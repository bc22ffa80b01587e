"""Which names may be stored: they are wire format, and they are shown in pages, logs and URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django_durable.exceptions import InvalidOptionError

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}", re.ASCII)
_RESERVED = ("__", "rollback:")  # steps that the engine itself records


class Named:
    """Something that is stored under its ``name``: a workflow, a step, a signal type."""

    __slots__ = ()

    name: str


def check_name(name: object, what: str) -> str:
    """A workflow, signal or queue name. Raises InvalidOptionError with what is allowed."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise InvalidOptionError(
        f"{what} {name!r} cannot be used: give 1 to 200 characters of letters, digits and _ . : - (ASCII)."
    )


def check_step_id(step_id: object) -> str:
    """A step id chosen by the user; ``#`` is kept for numbering repeats."""
    name = check_name(step_id, "Step id")
    if name.startswith(_RESERVED):
        raise InvalidOptionError(f"Step id {name!r} is reserved: ids may not begin with '__' or 'rollback:'.")
    return name


def check_patch_id(patch_id: object) -> str:
    return check_name(patch_id, "Patch id")


def check_key(key: object, what: str) -> str:
    """A key or de-duplication id of the caller: any printable text of 1 to 200 characters."""
    if isinstance(key, str) and 1 <= len(key) <= 200 and key.isprintable():
        return key
    raise InvalidOptionError(f"{what}={key!r}: give 1 to 200 printable characters.")


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A copy of searchable text by name. Raises InvalidOptionError."""
    if not isinstance(labels, Mapping):
        raise InvalidOptionError(f"labels={labels!r}: give a dict of short texts by name.")
    for name, value in labels.items():
        check_name(name, "Label name")
        check_key(value, f"Label {name}")
    return dict(labels)
