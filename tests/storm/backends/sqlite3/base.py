"""Django's backend for ``sqlite3``, failing now and then."""

from django.db.backends.sqlite3 import base

from tests.storm.backends.faulty import Busy


class DatabaseWrapper(Busy, base.DatabaseWrapper):
    pass
