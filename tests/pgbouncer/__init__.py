"""The suite on PostgreSQL with PgBouncer in between, in transaction mode; ``python -m tests.pgbouncer``."""

import os

import pytest

TELLS = "DURABLE_TEST_PGBOUNCER"  # in the environment of tests that run so
has_own_sessions = pytest.mark.skipif(TELLS in os.environ, reason="PgBouncer: the server's sessions are the pool's")
