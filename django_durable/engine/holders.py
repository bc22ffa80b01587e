"""Who holds a lease: a process, named so that others on the same machine can see whether it still lives.

A worker that is killed cannot give its executions back. Its machine knows at once that the process is gone, so
whoever ticks there returns the leases of the dead instead of waiting for them to run out.

The machine part must never be the same for two machines: boot id and PID namespace where Linux has them, so that
two containers with one host name do not judge each other's processes.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """This boot of this machine, or of this container's process table."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux: no containers share a process table there
        return f"{uuid.getnode():012x}"


def this_process() -> str:
    """``<machine>:<pid>:<start>``; the start time tells a re-used pid from the old one."""
    return _own_name(os.getpid())


@cache
def _own_name(pid: int) -> str:  # by pid: a forked child must not keep its parent's name
    return name_of(pid)


def name_of(pid: int) -> str:
    """The holder string of a living process of this machine."""
    return f"{machine()}:{pid}:{_started(pid)}"


def is_dead(holder: str) -> bool:
    """True only for a process of this machine that is certainly gone; anything doubtful counts as alive."""
    where, _, process = holder.partition(":")
    pid, _, started = process.partition(":")
    if where != machine() or not pid.isdigit():
        return False
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """Start time of a living process in clock ticks since boot; empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in {"Z", "X"} else fields[19]
    except OSError:
        return _alive_without_proc(pid)


def _alive_without_proc(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
