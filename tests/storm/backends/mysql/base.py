"""Django's backend for ``mysql``, failing now and then."""

from django.db.backends.mysql import base

from tests.storm.backends.faulty import Lossy


class DatabaseWrapper(Lossy, base.DatabaseWrapper):
    pass
