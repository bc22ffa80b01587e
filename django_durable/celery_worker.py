"""What the main process of a Celery worker does for the engine, through Celery's own signals.

Celery tells only the main process of a warm shutdown, and only the main process knows its pool: it passes the first
on to the children and watches over the second. A child that is killed cannot give its execution back; here that is
done within half a second. The watch asks the process table, never the database while everybody lives.

When the main process is killed its children die with it (Celery sets PR_SET_PDEATHSIG); whoever ticks or starts
next on the machine returns what they held, and so does a worker that starts anywhere under the same node name.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from celery import signals

from django_durable.conf import get_settings
from django_durable.engine import holders, shutdown, worker
from django_durable.engine.presence import Announcer, Presence
from django_durable.models import NodeKind

LOOK_SECONDS = 0.25
REFUSED_POOLS = frozenset({"eventlet", "gevent"})
DEFAULT_QUEUE = "default"  # ours; its messages go to Celery's own default queue

_announcers: list[Announcer] = []


def start(sender: Any = None, **_: object) -> None:
    """Receiver of ``worker_init``, in the main process, before the pool forks."""
    refused = refused_pool(getattr(sender, "pool_cls", ""), getattr(sender, "pool_start_method", "fork"))
    if refused:  # not an Exception: Celery would log it and start
        raise SystemExit(f"django-durable: {refused}")
    holders.join(getattr(sender, "hostname", ""))
    shutdown.forget()


def refused_pool(pool: object, start_method: str = "fork") -> str:
    """Why a pool, by its name or class, cannot run workflows; empty if it can.

    Greenlets: a body that computes, or waits in C, starves the heartbeat, and a lease that runs out under a live worker
    doubles its steps. Spawned children share no memory with the main process, which could not tell them of a shutdown.
    """
    if start_method != "fork":
        return f"Celery's pool_start_method {start_method!r} is not supported; use fork."
    told = " ".join(kind.__module__ for kind in pool.__mro__) if isinstance(pool, type) else str(pool)
    refused = REFUSED_POOLS.intersection(re.split(r"\W", told))
    return f"Celery's pool {min(refused)!r} is not supported; use prefork, threads or solo." if refused else ""


def stop(**_: object) -> None:
    """Receiver of ``worker_shutting_down``, in the main process's signal handler."""
    shutdown.request_stop()


def watch(sender: Any = None, **_: object) -> None:
    """Receiver of ``worker_ready``: return what died here earlier, then watch the pool."""
    pool = getattr(sender, "pool", None)
    threading.Thread(target=_watch, args=(pool,), name="durable-watch", daemon=True).start()


def _watch(pool: Any) -> None:
    """Ends at once where the pool has no processes of its own: threads live and die with the main process."""
    release_dead(is_starting=True)
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


def announce(sender: Any = None, **_: object) -> None:
    """Receiver of ``worker_ready``: say from now on that this worker is there, and what it reads."""
    presence = Presence(
        kind=NodeKind.WORKER,
        name=getattr(sender, "hostname", "")[:200],
        source=f"celery {_pool_name(sender)}",
        using=get_settings().database,
        queues=lambda: _queues(sender.app),
    )
    _announcers.append(Announcer(presence))
    _announcers[-1].start()


def leave(**_: object) -> None:
    """Receiver of ``worker_shutdown``, in the main process, when the pool has ended."""
    while _announcers:
        _announcers.pop().stop()


def _pool_name(consumer: Any) -> str:
    return type(getattr(consumer, "pool", None)).__module__.rpartition(".")[2]


def _queues(app: Any) -> list[str]:
    """The queues that the worker reads now, by our names."""
    return [DEFAULT_QUEUE if name == app.conf.task_default_queue else name for name in app.amqp.queues.consume_from]


def release_dead(*, is_starting: bool = False) -> None:
    worker.release_dead(using=get_settings().database, is_starting=is_starting)


signals.worker_init.connect(start, dispatch_uid="django_durable.start")
signals.worker_shutting_down.connect(stop, dispatch_uid="django_durable.stop")
signals.worker_ready.connect(watch, dispatch_uid="django_durable.watch")
signals.worker_ready.connect(announce, dispatch_uid="django_durable.announce")
signals.worker_shutdown.connect(leave, dispatch_uid="django_durable.leave")
