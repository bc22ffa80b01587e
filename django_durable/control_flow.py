"""What leaves a workflow function without being an error."""

from __future__ import annotations


class ControlFlow(BaseException):
    """Leaves a workflow function without being an error; derives from BaseException on purpose.

    Users write ``except Exception``; that must not stop a suspension.
    """


class Suspend(ControlFlow):
    """The workflow waits; its worker is free."""


class Cancelled(ControlFlow):
    """The execution is being cancelled. Clean up in ``except Cancelled`` and raise it again.

    Not in ``finally``: ordinary code there runs at every suspension too.
    """


class ContinueAsNew(ControlFlow):
    """The function ends here, and its execution goes on as a new one: ``ctx.continue_as_new``. Let it pass."""


class DeadlineExceeded(Cancelled):
    """The execution passed its deadline; the same rules as for ``Cancelled``."""
