"""Whether this worker is stopping: set by the main process, read by its pool processes between steps.

Celery signals a warm shutdown to its main process only, and its prefork children go on until their task ends. One
shared byte, mapped before the fork, tells them to hand the execution back after the running step.
"""

from __future__ import annotations

import mmap

_flag = mmap.mmap(-1, 1)  # anonymous and shared: children see the parent's write


def request_stop() -> None:
    _flag[0] = 1


def is_stopping() -> bool:
    return _flag[0] == 1


def forget() -> None:
    """Start anew; for a process that stops one worker and starts another, as tests do."""
    _flag[0] = 0
