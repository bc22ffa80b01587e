"""Values and errors to JSON text and back. Framework-free; nothing named in stored text is ever imported.

A text is ``[1,<value>]``: 1 is the version of the format. What JSON has no word for is an object with one key
that begins with ``$``, like ``{"$decimal":"1.50"}``; a user's dict that looks like one is written as
``{"$dict":[...]}``. The text is pure ASCII: NUL and lone surrogates pass through every database as escapes.
Keep it in text columns; a ``jsonb`` column would try to read those escapes.

Invariant: a value comes back equal and of the exact same type, or it is refused at ``encode``.

``values.py`` walks values, ``scalars.py`` holds the leaf types, ``objects.py`` takes registered classes
apart, ``registry.py`` knows them by name, ``refusals.py`` words the advice, ``failures.py`` records exceptions.
"""

from django_durable.codec.failures import RecordedError, decode_error, encode_error, rebuild_error
from django_durable.codec.registry import register, register_annotations
from django_durable.codec.values import MAX_DEPTH, VERSION, decode, encode, fingerprint, register_list, round_trip

__all__ = [
    "MAX_DEPTH",
    "VERSION",
    "RecordedError",
    "decode",
    "decode_error",
    "encode",
    "encode_error",
    "fingerprint",
    "rebuild_error",
    "register",
    "register_annotations",
    "register_list",
    "round_trip",
]
