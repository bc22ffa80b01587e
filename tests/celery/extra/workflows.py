"""The workflow that a worker without this app does not know."""

from django_durable import Context, workflow
from tests.celery.workflows import mark


@workflow("tests.celery.newer")
def newer(ctx: Context, trace: str) -> str:
    ctx.step("only", mark, trace, "only")
    return "done"
