"""What happened, in one order: by pages, or as it comes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

from django_durable.client.reading import refuse_transaction
from django_durable.client.targets import Target, alias_of, id_of
from django_durable.engine import feed as feeding
from django_durable.engine.feed import FeedEntry, FeedPage
from django_durable.exceptions import InvalidOptionError
from django_durable.polling import PAUSES_SECONDS

MOST_AT_ONCE = 1000


def feed(
    *,
    after: int = 0,
    limit: int = 100,
    execution: Target | None = None,
    kinds: Collection[str] | None = None,
    workflow: str | None = None,
    payloads: bool = False,
    using: str | None = None,
) -> FeedPage:
    """The next entries of the feed behind a position, in order, and the position to go on from.

    Every entry comes once and none appears later below a position that was returned; what retention has deleted is
    passed over. kinds: of audit entries; ``"event:orders.shipped"`` for an emitted event. limit: at most 1000; fewer
    entries mean that there are no more for now. payloads: also decode those of emitted events, which may raise
    CodecError.
    Raises InvalidOptionError, also for a position behind the end. Transaction: its own; inside of the caller's it
    only shows what has a position already, and what that transaction writes comes after its commit.
    """
    _check(after, limit)
    return feeding.read(
        _wanted(execution, kinds, workflow), after=after, limit=limit, has_payloads=payloads, using=alias_of(using)
    )


def feed_position(*, using: str | None = None) -> int:
    """The end of the feed, to read on from there: what is committed from now on comes behind it.

    Where nobody has read for long it takes a while: all that has happened meanwhile is numbered.
    """
    return feeding.end(using=alias_of(using))


def follow(
    *,
    after: int | None = None,
    execution: Target | None = None,
    kinds: Collection[str] | None = None,
    workflow: str | None = None,
    payloads: bool = False,
    stop: threading.Event | None = None,
    using: str | None = None,
) -> Iterator[FeedEntry]:
    """The entries of the feed as they come; waits for more until ``stop`` is set.

    after: None for what happens from now on. Go on after an interruption with ``after=entry.position``.
    Raises as ``feed``; TransactionOpenError inside a transaction, once there is nothing to tell.
    """
    ended = stop or threading.Event()
    position = feed_position(using=using) if after is None else after
    return _follow(position, _wanted(execution, kinds, workflow), payloads, ended, using)


def _follow(
    position: int, wanted: feeding.Wanted, payloads: bool, ended: threading.Event, using: str | None
) -> Iterator[FeedEntry]:
    _check(position, MOST_AT_ONCE)
    pause = PAUSES_SECONDS[0]
    while not ended.is_set():
        page = feeding.read(wanted, after=position, limit=MOST_AT_ONCE, has_payloads=payloads, using=alias_of(using))
        for entry in page.entries:
            if ended.is_set():
                return
            yield entry
        position = page.position
        if page.entries:
            pause = PAUSES_SECONDS[0]
            continue
        refuse_transaction(using)
        ended.wait(pause)
        pause = min(pause * 1.5, PAUSES_SECONDS[1])


def names(given: Collection[str] | None, what: str) -> list[str]:
    """A filter argument as a list. Raises InvalidOptionError for a lone text and for what is no text."""
    if given is None:
        return []
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in given):
        raise InvalidOptionError(f"{what}={given!r}: give a list of names, or None for all.")
    return sorted(set(given))


def _wanted(execution: Target | None, kinds: Collection[str] | None, workflow: str | None) -> feeding.Wanted:
    return feeding.Wanted(
        kinds=names(kinds, "kinds"),
        workflows=names(None if workflow is None else [workflow], "workflow"),
        execution_id=None if execution is None else id_of(execution),
    )


def _check(after: object, limit: object) -> None:
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        raise InvalidOptionError(f"after={after!r}: give a position that the feed has returned, or 0 for all.")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_AT_ONCE:
        raise InvalidOptionError(f"limit={limit!r}: give a number from 1 to {MOST_AT_ONCE}.")
