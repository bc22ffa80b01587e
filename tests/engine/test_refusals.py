"""Why an order is refused: the execution has ended, or there never was one."""

import uuid

from django_durable.engine.refusals import not_open
from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError
from tests.authoring import Deployed, no_op


def test_an_id_of_nobody_is_not_found(db):
    assert type(not_open(uuid.uuid4(), using="default")) is ExecutionNotFoundError


def test_an_execution_that_has_ended_tells_how(durable):
    execution = Deployed("flow", no_op).workflow.start()
    durable.run(execution)
    refusal = not_open(execution.id, using="default")
    assert (type(refusal), refusal.status) == (ExecutionClosedError, "completed")
