"""Limits under load: many executions, worker processes that are killed, and a witness outside the database.

``python -m tests.limits`` is the long form, ``test_limits_under_load.py`` the short one.
"""
