"""ctx.log: the standard logger, bound to the execution and quiet while history is replayed."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from django_durable.engine import log_lines
from django_durable.engine.matching import Matcher

logger = logging.getLogger("django_durable.workflow")


class ExecutionLogger(logging.LoggerAdapter[logging.Logger]):
    """What a replay would say again was said the first time."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__(logger, {"execution_id": str(matcher.execution_id), "attempt": matcher.attempt})
        self._matcher = matcher

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        return not self._matcher.is_replaying and super().isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """To the logger by its own level, to the database by ``DURABLE["LOG_LEVEL"]``."""
        if self._matcher.is_replaying:
            return
        log_lines.say(self._matcher.claim, level, msg, args)
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # who has called us, not this line
        super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
