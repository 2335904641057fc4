"""UUIDv7: random ids that sort by the time they were made, so that new rows go to the end of an index.

The standard library has them from Python 3.14 only. Source: RFC 9562, section 5.7.
"""

from __future__ import annotations

import os
import time
import uuid


def first_of(seconds: float) -> uuid.UUID:
    """Return the smallest UUIDv7 of a time, in seconds since 1970: ids from then on are not below it."""
    return uuid.UUID(int=int(seconds * 1000) << 80 | 0x7 << 76 | 0x2 << 62)


def uuid7() -> uuid.UUID:
    """Return a UUID of 60 bits of time since 1970, in 1/4096 of a millisecond, and 62 random bits.

    Sub-millisecond time (method 3 of section 6.2) keeps ids in the order in which one process made them.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random)
