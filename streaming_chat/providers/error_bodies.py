"""Reads the body of an error response: as much of it as says what was wrong, and for a few seconds.

An SDK reads such a body to its end, whatever its size, and decompresses it. What an error says is searched in errors.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator
from typing import Any

# As sent, and decompressed.
MAX_BYTES = 65_536
# For the whole body. Its status is known: the reply must not wait for the rest, up to its timeout.
MAX_SECONDS = 3.0

# Content encoding -> window bits of zlib.
_ZLIB_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def beginning(response: Any) -> bytes:
    """Return the first bytes of a response's body, decompressed, and close it.

    Raises nothing: the status says more than a body that breaks.
    """
    body = await _received(response.stream)
    return _decoded(body, response.headers.get("content-encoding", "identity").strip().lower())


async def _received(stream: Any) -> bytes:
    """Return the first bytes of a body as they were sent, and close it."""
    body = bytearray()
    # The stream's own iterator may be closed, which frees the connection.
    pieces: AsyncGenerator[bytes, None] = stream.__aiter__()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(MAX_SECONDS), contextlib.aclosing(stream), contextlib.aclosing(pieces):
            async for piece in pieces:
                body += piece
                if len(body) >= MAX_BYTES:
                    break
    return bytes(body[:MAX_BYTES])


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return the beginning of a body without its content encoding; nothing if that is not known."""
    if encoding in ("", "identity"):
        return body
    with contextlib.suppress(KeyError, zlib.error):
        return zlib.decompressobj(_ZLIB_BITS[encoding]).decompress(body, MAX_BYTES)
    return b""
