"""Wall-clock times without a zone that match an expression; croniter finds them.

Between two matches of any expression are at most 40 years (29 February on a given weekday, around 2100), so the
search is bounded by 50.
"""

from __future__ import annotations

import copy
from datetime import MAXYEAR, datetime
from functools import lru_cache
from typing import Any

_YEARS = 50
_ANY_TIME = datetime(2000, 1, 1)


def following(alternatives: tuple[str, ...], wall: datetime) -> datetime | None:
    """The first match strictly after a naive time, or None: none before the end of the year 9999."""
    found = (_next(parsed, wall) for parsed in _parsed(alternatives))
    return min((match for match in found if match is not None), default=None)


def _next(parsed: Any, wall: datetime) -> datetime | None:
    # A copy: a croniter keeps where it is, and threads share the parsed ones.
    try:
        found: datetime = copy.copy(parsed).get_next(start_time=wall)
    except (ValueError, OverflowError):
        # Anywhere else it is a mistake, and None would end a schedule without a word.
        if wall.year < MAXYEAR - _YEARS:
            raise
        return None
    return found


@lru_cache(maxsize=1024)
def _parsed(alternatives: tuple[str, ...]) -> tuple[Any, ...]:
    from croniter import croniter  # here, since workflows.py is read by processes that never tick

    return tuple(
        croniter(plain, _ANY_TIME, ret_type=datetime, max_years_between_matches=_YEARS) for plain in alternatives
    )
