"""Bugs planted on purpose: does the suite catch them? ``python -m tests.planted``, or ``make planted``."""
