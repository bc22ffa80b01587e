"""Flows: workflows as declared lists of nodes."""

from django_durable.flow.builder import Flow, Part
from django_durable.flow.data import FlowData

__all__ = ["Flow", "FlowData", "Part"]
