"""The test kit, for users' tests and for our own.

``DurableKit`` runs executions in this process, on this connection, under a clock that the test moves; so it works
inside an ordinary rolled-back ``TestCase``. With pytest it is the fixture ``durable``; with unittest add
``DurableTestMixin``. ``faults`` holds what proves the engine: crashes at any database call and a lying dispatcher.
"""

from django_durable.engine.dry_run import ReplayReport
from django_durable.testing.histories import export_history, replay
from django_durable.testing.kit import DurableKit, DurableTestMixin, NotIdleError

__all__ = ["DurableKit", "DurableTestMixin", "NotIdleError", "ReplayReport", "export_history", "replay"]
