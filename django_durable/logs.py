"""Which execution a log line is about: a filter for the handlers of a project's ``LOGGING``.

Any logger may be used, in workflow functions and in step bodies, also in those that run in threads or coroutines.
"""

from __future__ import annotations

import logging

from django_durable.running import running_execution, running_step

__all__ = ["ExecutionFilter"]

_INFRASTRUCTURE = ("django", "django_durable")  # its lines tell what a replay does, too
_CTX_LOG = "django_durable.workflow"


class ExecutionFilter(logging.Filter):
    """Give each record ``execution_id``, ``workflow``, ``step_id`` and ``attempt``; empty outside of an execution.

    attempt: of the step in its body, else of the execution. What a record has already is left as it is.
    quiet: drop what a workflow function says while it is taken to where it has been before, but for Django's own lines
    and ours.
    """

    def __init__(self, name: str = "", *, quiet: bool = True) -> None:
        super().__init__(name)
        self._quiet = quiet

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return False
        execution, step = running_execution.get(None), running_step.get(None)
        facts = {
            "execution_id": str(step.execution_id if step else execution.execution_id if execution else ""),
            "workflow": execution.workflow if execution else "",
            "step_id": step.step_id if step else "",
            "attempt": step.attempt if step else execution.attempt if execution else "",
        }
        for name, value in facts.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        is_repeated = self._quiet and execution is not None and step is None and execution.is_replaying()
        return not is_repeated or _is_infrastructure(record.name)


def _is_infrastructure(logger: str) -> bool:
    """ctx.log is quiet by itself, and knows better: it asks its own branch."""
    return logger == _CTX_LOG or logger.partition(".")[0] in _INFRASTRUCTURE
