"""A project as a user of django-durable writes one: the tests, the demo and the benchmarks run in it."""

from testproject.celery import app as celery_app

__all__ = ["celery_app"]
