"""The shape of a workflow: which durable calls its function makes, on all branches, told without running it.

``source`` finds the syntax tree of a function, ``reader`` walks it, ``scope`` says what a name means there,
``operations`` is the table of the context's methods. The result is a tree of ``nodes``, a ``shape``; ``outline`` and
``mermaid`` draw it. ``catalog`` tells what the registry holds.

Invariant: no code of the user runs. Names are looked up in the namespaces the function already has, and of what they
stand for only the stored name is read. What cannot be told this way is a node of the kind ``unknown``, never left out.
"""

from django_durable.describe.catalog import ParameterInfo, WorkflowInfo
from django_durable.describe.nodes import Branch, Node
from django_durable.describe.shape import Shape

__all__ = ["Branch", "Node", "ParameterInfo", "Shape", "WorkflowInfo"]
