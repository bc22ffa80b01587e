"""How soon the work goes on after the database has crashed under it, measured from the moment its port opens again.

The steps themselves tell when they were recorded, by the database's clock.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from django_durable.models import Step, StepStatus
from tests.clusters import wait_until
from tests.storm import verdict
from tests.storm.crew import CHILDREN, Crew
from tests.storm.ground import Ground, point_clients_to, recorded_steps
from tests.storm.load import PROGRAMS, Load

WARM_STEPS = 200

BEFORE_SECONDS = 6.0
AFTER_SECONDS = 12.0
DOWN_SECONDS = 2.0
BIN_SECONDS = 0.5
RECOVERED = 0.9
TARGET_SECONDS = 5.0


@dataclass
class Recovery:
    reuse: int  # CELERY_DB_REUSE_MAX
    before: float
    seconds: float | None  # from the open port to the end of the first bin that is as fast as before; None: never
    afterwards: float  # from there to the end
    bins: list[float]
    restarted_workers: int
    violations: list[str]

    @property
    def failed(self) -> bool:
        return bool(self.violations or self.restarted_workers or (self.seconds or 1e9) > TARGET_SECONDS)

    def __str__(self) -> str:
        back = "never" if self.seconds is None else f"{self.seconds:.1f} s"
        return (
            f"restart with CELERY_DB_REUSE_MAX={self.reuse}: {self.before:.0f} steps/s before, "
            f"back at {RECOVERED:.0%} {back} after the port opened (target {TARGET_SECONDS:.0f} s), "
            f"{self.afterwards:.0f} steps/s from there on, {self.restarted_workers} workers restarted, "
            f"{len(self.violations)} violations\n"
            f"    steps/s in bins of {BIN_SECONDS} s: {' '.join(f'{rate:.0f}' for rate in self.bins)}"
        )


def run(ground: Ground, reuse: int) -> Recovery:
    folder, ledger = ground.begin(f"restart-{reuse}")
    point_clients_to(ground.database_server.port)
    crew = Crew(folder, embedded=False, worker={}, reuse=(reuse, reuse))
    load = Load(f"{ground.seed} restart {reuse}", ledger, programs=PROGRAMS[:1])
    in_flight = len(crew.workers) * CHILDREN
    try:
        crew.start()
        load.start()
        wait_until(lambda: recorded_steps() >= WARM_STEPS, lambda: f"no work is done: {folder}", 60)
        time.sleep(BEFORE_SECONDS)
        crashed_at, opened_at = _crash(ground)
        for _ in range(in_flight):
            ledger.interrupted()
        time.sleep(AFTER_SECONDS)
        restarted = sum(post.running is None or post.running.process.poll() is not None for post in crew.workers)
        load.begin_no_more()
        load.join()
        wait_until(lambda: not verdict.open_executions(), lambda: "\n".join(verdict.open_executions()))
    finally:
        crew.stop()
    found = _measure(crashed_at, opened_at)
    violations = verdict.violations(ledger, in_flight)
    verdict.forget_everything()
    return Recovery(reuse, *found, restarted, violations)


def _crash(ground: Ground) -> tuple[float, float]:
    """When the server went, and when it took connections again."""
    crashed_at = time.time()
    ground.database_server.crash()
    time.sleep(DOWN_SECONDS)
    ground.database_server.start()
    return crashed_at, time.time()


def _measure(crashed_at: float, opened_at: float) -> tuple[float, float | None, float, list[float]]:
    """Steps/s before, seconds until they are back, steps/s from there on, and the bins after the opening."""
    steps = Step.objects.using("direct").filter(status=StepStatus.COMPLETED)
    moments = [moment.timestamp() for moment in steps.values_list("finished_at", flat=True)]
    before = sum(crashed_at - BEFORE_SECONDS <= moment < crashed_at for moment in moments) / BEFORE_SECONDS
    told = Counter(int((moment - opened_at) // BIN_SECONDS) for moment in moments)
    bins = [told[number] / BIN_SECONDS for number in range(int(AFTER_SECONDS / BIN_SECONDS))]
    back = next((number for number, rate in enumerate(bins) if rate >= RECOVERED * before), None)
    rest = bins[back:] if back is not None else bins
    return before, None if back is None else (back + 1) * BIN_SECONDS, sum(rest) / len(rest), bins
