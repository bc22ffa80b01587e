"""What Celery alone costs: a task that does nothing, timed like an execution."""

from celery import shared_task

from benchmarks import stopwatch


@shared_task(name="benchmarks.noop", ignore_result=True)
def noop(name: str) -> None:
    stopwatch.mark(name)
