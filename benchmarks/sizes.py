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
    batch: int = 10_000  # starts of one start_many
    logged: int = 500  # executions whose log bytes are counted
    latencies: int = 200
    sleeps: int = 100
    longest_sleep: float = 3.0  # seconds
    histories: tuple[int, ...] = (100, 1_000, 5_000)
    sleepers: tuple[int, ...] = (100_000,)
    ended: int = 100_000  # executions among which some are found
    asleep: int = 10_000  # ... and of those that have not ended
    probes: int = 300  # claims, ticks, lists
    expired: int = 100_000  # executions that are pruned beside a load
    worked: int = 5_000  # executions by one process whose memory is watched


NORMAL = Size()
FULL = replace(NORMAL, sleepers=(100_000, 1_000_000), ended=1_000_000, asleep=100_000, worked=100_000)
QUICK = Size(
    1, 5, 4, 5, 10, 5, 3, 3, 0.3, (10, 20, 50), (100,), 200, 20, 5, 60, 40
)  # that everything runs; its figures mean nothing
