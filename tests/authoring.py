"""What tests of authored workflows share: a registry that forgets, code that is deployed anew, a worker that dies."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps

from django_durable import Context, step, workflow
from django_durable.definitions import registry
from django_durable.events import receivers
from django_durable.models import Step

TABLES = tuple(apps.get_app_config("django_durable").get_models())
NO_BROKER = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Forget after each test what it registered."""
    with registry.isolated(), receivers.isolated():
        yield


@pytest.fixture
def polling(settings: Any) -> None:
    """Send no hints: the test claims what is due itself."""
    settings.DURABLE = NO_BROKER


class Killed(BaseException):
    """A worker's sudden death: nothing after the line that raises it is recorded, and its lease stays."""


class Deployed:
    """One registered workflow whose code a test replaces, as a deploy does."""

    def __init__(self, name: str, code: Callable[..., Any]) -> None:
        self.code = code

        @workflow(name)
        def current(ctx: Context, *args: Any) -> Any:
            return self.code(ctx, *args)

        self.workflow = current


def rows() -> dict[str, int]:
    """How many rows each of our tables has."""
    return {model.__name__: model.objects.count() for model in TABLES}


def no_op(*args: Any, **kwargs: Any) -> None:
    """A step body that does nothing."""


def started(body, **options):
    """Start a workflow of one step with that body."""

    @workflow("flow")
    def flow(ctx):
        return ctx.step(step(name="only", **options)(body))

    return flow.start()


def only_step(execution):
    return Step.objects.get(execution_id=execution.id)
