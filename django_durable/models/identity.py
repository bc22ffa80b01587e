"""UUIDv7: primary keys that sort by creation and keep index inserts local.

``uuid.uuid7`` exists from Python 3.14 on; below it this is RFC 9562 section 5.7 with method 3 (extra clock
precision in ``rand_a``).
"""

from __future__ import annotations

import os
import time
import uuid


def _uuid7() -> uuid.UUID:
    """48 bits of Unix milliseconds, 12 bits of sub-millisecond fraction, 62 random bits."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    noise = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | noise
    return uuid.UUID(int=value)


def new_id() -> uuid.UUID:
    """A fresh UUIDv7."""
    return _uuid7()
