"""What ``ctx.log`` says, kept in the database when ``DURABLE["LOG_LEVEL"]`` asks for it.

Lines wait in the claim until the next checkpoint, park or end, and are stored in that transaction, under its fence: a
line is there exactly if what came after it is, so a later pass neither loses nor repeats one.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from django_durable.conf import get_settings
from django_durable.engine.claims import Claim
from django_durable.models import LONGEST_MESSAGE, LogLine

MOST_LINES = 1000  # of one execution; the last one says that there were more
PAGE = 1000
_NO_NUMBER = -1
_FULL = f"No more than {MOST_LINES} lines of an execution are kept."


def say(claim: Claim, level: int, message: object, args: tuple[Any, ...]) -> None:
    """Keep a line, if it is bad enough. No statement; arguments that do not fit the message are no error here."""
    least = get_settings().log_level
    if least is None or level < logging.getLevelNamesMapping()[least] or len(claim.log_lines) >= MOST_LINES:
        return
    line = LogLine(
        execution_id=claim.execution_id,
        number=_NO_NUMBER,
        level=level,
        message=_storable(message, args),
        attempt=max(claim.claims, 1),
        said_at=claim.now(),
    )
    claim.log_lines.append(line)


def _storable(message: object, args: tuple[Any, ...]) -> str:
    try:
        text = logging.LogRecord("", 0, "", 0, message, args, None).getMessage()
    except Exception:  # the logger complains about that to whoever looks after it
        text = repr(message)
    # PostgreSQL stores no NUL, and no database half a surrogate pair.
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:LONGEST_MESSAGE]


def store(claim: Claim) -> None:
    """Two statements the first time in a pass, one later; none when nothing was said.

    Transaction: must be called in one that holds the lease. If it is repeated, so is this, with the same numbers.
    """
    lines = claim.log_lines
    if not lines:
        return
    if claim.log_number is None:
        last = LogLine.objects.using(claim.using).of(claim.execution_id).aggregate(last=Max("number"))["last"]
        claim.log_number = 0 if last is None else last + 1
    for line in lines:
        if line.number == _NO_NUMBER:
            line.number = claim.log_number
            claim.log_number += 1
        if line.number == MOST_LINES - 1:
            line.message = _FULL
    kept = [line for line in lines if line.number < MOST_LINES]
    LogLine.objects.using(claim.using).bulk_create(kept, ignore_conflicts=True)
    stored_until = lines[-1].number
    transaction.on_commit(lambda: _forget(claim, stored_until), using=claim.using)


def _forget(claim: Claim, stored_until: int) -> None:
    claim.log_lines = [line for line in claim.log_lines if not 0 <= line.number <= stored_until]


def prune(before: datetime, *, using: str, batch: int = PAGE) -> int:
    """Delete up to ``batch`` lines said before a time, the oldest first; how many. One statement more than that."""
    lines = LogLine.objects.using(using)
    found = list(lines.before(before).order_by("said_at").values_list("pk", flat=True)[:batch])
    return lines.filter(pk__in=found)._raw_delete(using=using) if found else 0
