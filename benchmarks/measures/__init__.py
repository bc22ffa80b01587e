"""The measures by name: those that need no worker beside the client's process, and those that do."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.measures import batch, finding, firing, latency, log, memory, prune, replay, scale, throughput
from benchmarks.sizes import Size
from benchmarks.workers import Worker

ALONE: dict[str, Callable[[Size], list[Figure]]] = {
    "steps": throughput.steps,
    "starts": throughput.starts,
    "batch": batch.batch,
    "wal": log.wal,
    "replay": replay.replay,
    "scale": scale.scale,
    "find": finding.find,
    "fire": firing.fire,
    "memory": memory.memory,
}
WITH_WORKER: dict[str, Callable[[Size, Worker], list[Figure]]] = {
    "executions": throughput.executions,
    "idle": latency.idle,
    "signal": latency.signal,
    "sleep": latency.sleep,
    "prune": prune.prune,
}
