"""Killing workers for real: what the demo's red buttons do. Enabled only where ``settings.DEMO`` is true."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from django.conf import settings

from testproject.shop import board


class NothingToKill(Exception):
    """Nobody is busy, or the process has just finished."""


def kill_busy(pid: int | None = None) -> str:
    """SIGKILL one process that has an execution right now; which one may be said. Returns what was done.

    Only holders of live leases are killed, so a number from outside cannot hit another process. An idle pool
    process is never chosen: it may hold the pool's lock.
    """
    busy = [(execution, holder) for execution, holder in board.live_executions() if pid in {None, holder}]
    if not busy:
        raise NothingToKill("No process is busy right now. Make the payment service slow, create an order, try again.")
    execution, holder = busy[0]
    try:
        os.kill(holder, signal.SIGKILL)
    except ProcessLookupError:
        raise NothingToKill(f"Process {holder} was gone already.") from None
    return f"Sent SIGKILL to process {holder}, in the middle of {execution}. Watch another one take over."


def kill_worker() -> str:
    """SIGKILL the whole Celery worker, its main process and its pool. Returns what was done."""
    try:
        pid = int(worker_pid_file().read_text(encoding="ascii"))
        os.killpg(pid, signal.SIGKILL)  # the demo starts it as the leader of its own group
    except (OSError, ValueError):
        raise NothingToKill("The worker is not running; it is being started again.") from None
    return f"Sent SIGKILL to the whole worker, process group {pid}."


def worker_pid_file() -> Path:
    """Where the demo's worker writes its process id."""
    return settings.DEMO_DIR / "worker.pid"
