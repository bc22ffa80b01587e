"""Asking again and again for what somebody else will write."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django_durable import clock
from django_durable.exceptions import ResultTimeoutError

PAUSES_SECONDS = (0.02, 0.5)  # the first and the longest


def wait(look: Callable[[], list[Any] | str], timeout: timedelta | float | None, before: Callable[[], None]) -> Any:
    """Ask until there is a list, with growing pauses; what is in it is returned.

    look: gives a text as long as there is none, for the error. timeout: None for no limit, 0 asks once.
    before: called before each pause. Raises ResultTimeoutError.
    """
    limit = None if timeout is None else clock.to_seconds(timeout, "timeout")
    ends_at = None if limit is None else clock.monotonic() + limit
    pause = PAUSES_SECONDS[0]
    while isinstance(found := look(), str):
        before()
        if ends_at is not None and clock.monotonic() + pause > ends_at:
            raise ResultTimeoutError(f"{found} after {limit:g} s.")
        time.sleep(pause)
        pause = min(pause * 1.5, PAUSES_SECONDS[1])
    return found[0]
