"""A dispatcher whose hints about single executions are all lost: only the tick is left."""

from uuid import UUID

from django_durable.tasks import CeleryDispatcher


class LosesWakes(CeleryDispatcher):
    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        pass
