"""Context: what a workflow may do, one file for each kind of call. The engine implements its ``Runtime``.

No engine, no model and no Celery here: workflow code that imports this imports nothing of them.
"""

from __future__ import annotations

from django_durable.context.asynchronous import AsyncContext
from django_durable.context.branching import BranchCalls
from django_durable.context.changes import ChangeCalls
from django_durable.context.events import EventCalls
from django_durable.context.facts import FactCalls
from django_durable.context.joining import JoinCalls
from django_durable.context.looping import LoopCalls
from django_durable.context.runtime import Runtime
from django_durable.context.state import StateCalls
from django_durable.context.steps import StepCalls

__all__ = ["AsyncContext", "Context", "Runtime"]


class Context(StepCalls, BranchCalls, LoopCalls, JoinCalls, StateCalls, EventCalls, FactCalls, ChangeCalls):
    """The durable operations of one execution; the first argument of every workflow function.

    Each call is matched with the recorded history by order, kind and id, so the same calls must come in the same
    order in every run: take time, randomness and outside facts from here or from steps.
    """
