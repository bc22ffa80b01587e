"""Step bodies: everything that may be one, and what is refused."""

from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from celery import shared_task

from django_durable import step, workflow
from django_durable.engine import bodies
from django_durable.exceptions import ExecutionFailedError, InvalidOptionError


def plain(number):
    return number + 1


@step
def decorated(number):
    return number + 1


async def asynchronous(number):
    return number + 1


@step
async def decorated_asynchronous(number):
    return number + 1


@shared_task(name="tests.celery_add")
def celery_task(number):
    return number + 1


@shared_task(name="tests.celery_bound", bind=True)
def celery_bound(self, number):
    assert self.name == "tests.celery_bound"
    return number + 1


if find_spec("django.tasks"):
    from django.tasks import task

    @task
    def django_task(number):
        return number + 1


class Adder:
    def __call__(self, number):
        return number + 1

    def method(self, number):
        return number + 1


BODIES = {
    "plain": (plain, "plain"),
    "step": (decorated, "decorated"),
    "async": (asynchronous, "asynchronous"),
    "async step": (decorated_asynchronous, "decorated_asynchronous"),
    "celery": (celery_task, "celery_add"),
    "celery bound": (celery_bound, "celery_bound"),
    "partial": (partial(plain, 1), "plain"),
    "method": (Adder().method, "method"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_runs_here_and_names_its_checkpoint(durable, kind):
    body, name = BODIES[kind]

    @workflow("flow")
    def flow(ctx):
        return ctx.step(body, *([] if kind == "partial" else [1]))

    execution = flow.start()
    assert durable.run(execution) == 2
    assert [(row.step_id, row.result) for row in durable.inspect(execution).history] == [(name, 2)]


def test_an_id_wins_over_the_name_of_the_body(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.step("mine", decorated, 1)

    execution = flow.start()
    assert durable.run(execution) == 2
    (row,) = durable.inspect(execution).history
    assert (row.step_id, row.target) == ("mine", "decorated")


@pytest.mark.parametrize("body", [lambda number: number + 1, Adder()], ids=["lambda", "object"])
def test_a_body_without_a_name_needs_an_id(durable, body):
    @workflow("flow")
    def flow(ctx, step_id):
        return ctx.step(step_id, body, 1) if step_id else ctx.step(body, 1)

    assert durable.run(flow.start("add")) == 2
    with pytest.raises(ExecutionFailedError, match=r"Name the step: ctx.step"):
        durable.run(flow.start(None))


def test_a_step_whose_name_is_reserved_needs_another_id(durable):
    def __secret(number):
        return number

    @workflow("flow")
    def flow(ctx):
        return ctx.step(__secret, 1)

    with pytest.raises(ExecutionFailedError, match="reserved"):
        durable.run(flow.start())


@pytest.mark.skipif(find_spec("django.tasks") is None, reason="django.tasks came with Django 6.0")
def test_a_django_task_runs_here(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.step(django_task, 1)

    execution = flow.start()
    assert durable.run(execution) == 2
    assert durable.inspect(execution).history[0].step_id == "django_task"


def django_like_task(**attributes):
    return SimpleNamespace(enqueue=None, func=plain, call=plain, name="plain", **attributes)


def test_anything_of_the_shape_of_a_django_task_is_its_function():
    made = bodies.as_step(django_like_task(takes_context=False))
    assert (made.name, made.fn) == ("plain", plain)


def test_a_django_task_that_takes_a_context_is_refused():
    with pytest.raises(InvalidOptionError, match="takes a task context"):
        bodies.as_step(django_like_task(takes_context=True))


def test_nothing_is_enqueued_for_a_celery_task(durable, monkeypatch):
    sent = []
    monkeypatch.setattr(celery_task, "apply_async", lambda *args, **kwargs: sent.append(args), raising=False)

    @workflow("flow")
    def flow(ctx):
        return ctx.step(celery_task, 1)

    assert durable.run(flow.start()) == 2
    assert sent == []
