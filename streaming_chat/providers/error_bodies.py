"""Reads the body of an error response: as much of it as says what was wrong, and for a few seconds.

An SDK reads such a body to its end, whatever its size, and decompresses it. Here, it gets the beginning, decompressed, so
that it makes its exception from that. What an error says is searched in errors.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator
from importlib import import_module
from typing import Any

# As sent, and decompressed.
MAX_BYTES = 65_536
# For the whole body. Its status is known: the reply must not wait for the rest, up to its timeout.
MAX_SECONDS = 3.0

# Content encoding -> window bits of zlib.
_ZLIB_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def shorten_error(response: Any) -> None:
    """Replace the body of an error response by its beginning: an event hook of the SDKs' HTTP clients."""
    if response.is_success:
        return
    stream = response.stream
    body = await _beginning(stream)
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    # Not the charset of the response: some of Python's take quadratic time.
    response.headers["content-type"] = "application/json; charset=utf-8"
    response.stream = import_module("httpx2").ByteStream(_decoded(body, encoding))


async def _beginning(stream: Any) -> bytes:
    """Return the first bytes of a body, and close it. Raises nothing: the status says more than a body that breaks."""
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
