"""What the tests of this directory compare."""

from textwrap import dedent

from django_durable import workflow
from django_durable.describe.nodes import walk


def shape_of(fn):
    return workflow("flow")(fn).describe()


def outline(fn):
    """The outline of a function that is described as a workflow."""
    return shape_of(fn).outline()


def text(expected):
    return dedent(expected).lstrip("\n")


def nodes_of(fn, kind=None):
    """All nodes at any depth, or those of a kind."""
    return [node for node in walk(shape_of(fn).nodes) if kind in (None, node.kind)]


def only_node(fn):
    (node,) = shape_of(fn).nodes
    return node
