"""Who holds a lease: a process, named so that others on the same machine can see whether it still lives.

A worker that is killed cannot give its executions back. Its machine knows at once that the process is gone, so
whoever ticks there returns the leases of the dead instead of waiting for them to run out.

The machine part must never be the same for two machines: boot id and PID namespace where Linux has them, so that
two containers with one host name do not judge each other's processes.

A worker also says its node name, which outlives a restart. Whoever starts under the name of a worker on another
machine is its successor, as a restarted container is: it returns once what the name held there. Should that worker
be alive after all, the fence makes it lose those executions and nothing more.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from functools import cache
from pathlib import Path

LONGEST_NODE = 60  # characters; with the rest it fits the column, and every claim writes it

_node = ""


def join(node: str) -> None:
    """Say to which worker this process belongs; also whatever it forks from now on. Empty: to none."""
    global _node
    digest = hashlib.blake2s(node.encode(), digest_size=4).hexdigest()
    _node = node if len(node) <= LONGEST_NODE else f"{node[: LONGEST_NODE - len(digest) - 1]}~{digest}"


@cache
def machine() -> str:
    """This boot of this machine, or of this container's process table."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        where = f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
        return hashlib.blake2s(where.encode(), digest_size=8).hexdigest()
    except OSError:  # not Linux: no containers share a process table there
        return f"{uuid.getnode():012x}"


def this_process() -> str:
    """``<machine>:<pid>:<start>:<node>``; the start time tells a re-used pid from the old one."""
    return _own_name(os.getpid(), _node)


@cache
def _own_name(pid: int, node: str) -> str:  # by pid: a forked child must not keep its parent's name
    return f"{name_of(pid)}:{node}"


def name_of(pid: int) -> str:
    """What tells a living process of this machine from every other, ever."""
    return f"{machine()}:{pid}:{_started(pid)}"


def is_dead(holder: str) -> bool:
    """True only for a process of this machine that is certainly gone; anything doubtful counts as alive."""
    where, pid, started, _ = _parts(holder)
    if where != machine() or not pid.isdigit():
        return False
    return _started(int(pid)) != started


def is_predecessor(holder: str) -> bool:
    """True for a process on another machine that belonged to a worker of this process's node name."""
    where, _, _, node = _parts(holder)
    return bool(node) and node == _node and where != machine()


def _parts(holder: str) -> list[str]:
    return (holder.split(":", 3) + [""] * 3)[:4]


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
