"""Django's backend for ``postgresql``, failing now and then."""

from django.db.backends.postgresql import base

from tests.storm.backends.faulty import Lossy


class DatabaseWrapper(Lossy, base.DatabaseWrapper):
    pass
