"""Reads the body of an error response: as much of it as says what was wrong, and for a few seconds.

An SDK reads such a body to its end, whatever its size. What an error says is searched in errors.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import StreamReader

MAX_BYTES = 65_536
# For the whole body. Its status is known: the reply must not wait for the rest, up to its timeout.
MAX_SECONDS = 3.0


async def beginning(content: StreamReader) -> bytes:
    """Return the first bytes of a body. Raises nothing: the status says more than a body that breaks."""
    body = bytearray()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(MAX_SECONDS):
            while len(body) < MAX_BYTES and (data := await content.readany()):
                body += data
    return bytes(body[:MAX_BYTES])
