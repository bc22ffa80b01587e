"""What the main process of a Celery worker does for the engine, through Celery's own signals.

Celery tells only the main process of a warm shutdown, and only the main process knows its pool: it passes the first
on to the children and watches over the second. A child that is killed cannot give its execution back; here that is
done within half a second. The watch asks the process table, never the database while everybody lives.

When the main process is killed its children die with it (Celery sets PR_SET_PDEATHSIG); whoever ticks or starts
next on the machine returns what they held.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import signals
from django.db import Error, connections

from django_durable.conf import get_settings
from django_durable.engine import claims, holders, shutdown

logger = logging.getLogger("django_durable.worker")

LOOK_SECONDS = 0.25


def start(**_: object) -> None:
    """Receiver of ``worker_init``, in the main process, before the pool forks."""
    shutdown.forget()


def stop(**_: object) -> None:
    """Receiver of ``worker_shutting_down``, in the main process's signal handler."""
    shutdown.request_stop()


def watch(sender: Any = None, **_: object) -> None:
    """Receiver of ``worker_ready``: return what died here earlier, then watch the pool."""
    pool = getattr(sender, "pool", None)
    threading.Thread(target=_watch, args=(pool,), name="durable-watch", daemon=True).start()


def _watch(pool: Any) -> None:
    """Ends at once where the pool has no processes of its own: threads live and die with the main process."""
    release_dead()
    children = {pid: holders.name_of(pid) for pid in _pids(pool)}
    is_process_pool = bool(children)
    while is_process_pool:
        time.sleep(LOOK_SECONDS)
        dead = {pid for pid, name in children.items() if holders.is_dead(name)}
        if dead:
            time.sleep(LOOK_SECONDS)  # the replacement is forked now; not while this thread holds a driver's lock
            release_dead()
        children = {pid: children.get(pid) or holders.name_of(pid) for pid in set(_pids(pool)) - dead}


def _pids(pool: Any) -> list[int]:
    """The pool's children, from what ``celery inspect stats`` shows; none while it is being replaced."""
    try:
        return list(pool.info.get("processes", ()))
    except Exception:  # a pool that starts, stops or has no such thing
        return []


def release_dead() -> None:
    """Return the leases of dead processes. A database that fails is the tick's to ask again."""
    try:
        released = claims.release_dead(using=get_settings().database)
        if released:
            logger.warning("Returned %s executions of processes that died.", released)
    except Error:
        logger.warning("Could not return the executions of dead processes; the tick will.", exc_info=True)
    finally:
        connections.close_all()


signals.worker_init.connect(start, dispatch_uid="django_durable.start")
signals.worker_shutting_down.connect(stop, dispatch_uid="django_durable.stop")
signals.worker_ready.connect(watch, dispatch_uid="django_durable.watch")
