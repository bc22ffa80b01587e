"""How much each benchmark does."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Size:
    """The defaults give figures that can be trusted within minutes."""

    rounds: int = 5
    steps: int = 300  # of the one execution
    executions: int = 300  # per round
    starts: int = 500  # per round
    logged: int = 500  # executions whose log bytes are counted
    latencies: int = 200
    sleeps: int = 100
    longest_sleep: float = 3.0  # seconds
    histories: tuple[int, ...] = (100, 1_000, 5_000)
    sleepers: tuple[int, ...] = (100_000,)
    probes: int = 300  # claims, ticks
    worked: int = 5_000  # executions by one process whose memory is watched


NORMAL = Size()
FULL = replace(NORMAL, sleepers=(100_000, 1_000_000), worked=100_000)
QUICK = Size(1, 5, 4, 5, 5, 3, 3, 0.3, (10, 20, 50), (100,), 5, 40)  # that everything runs; its figures mean nothing
