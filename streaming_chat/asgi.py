"""An ASGI application whose requests share a few threads: for a site that keeps many replies open.

Django gives every request under ASGI a thread of its own to its end: 1,000 open replies are 1,000 threads. In your asgi.py:

    from streaming_chat.asgi import get_asgi_application

    application = get_asgi_application()

The price: synchronous code of all requests runs on these threads, one call at a time each, so a slow synchronous view, or
a synchronous middleware around an async view that takes its time, holds up others. Needs asgiref 3.13.

Under uvicorn it also resets the connection of a client that takes nothing (SEND_TIMEOUT_SECONDS). Without it such a
client's reader ends, too, but uvicorn keeps its connection, and at most 64 KiB for it, until the client goes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core import asgi

# On, for 0 seconds: closing then sends RST, and the kernel keeps nothing for the client.
_NO_LINGER = struct.pack("ii", 1, 0)

Application = Callable[[dict[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]


def get_asgi_application(threads: int = 2) -> Application:
    """Return Django's ASGI application, on so many threads in all."""
    return SharedThreads(asgi.get_asgi_application(), threads)


class SharedThreads:
    """Runs an application's synchronous code on a few threads, each request on one of them."""

    def __init__(self, application: Application, threads: int = 2) -> None:
        self._application = application
        # One worker each: a request's synchronous code must stay on one thread, where its connections are.
        self._executors = cycle(
            ThreadPoolExecutor(1, thread_name_prefix=f"streaming_chat.request{number}") for number in range(threads)
        )

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        try:
            async with ThreadSensitiveContext(executor=next(self._executors)):
                await self._application(scope, receive, send)
        finally:
            await _reset_unfinished(getattr(send, "__self__", None))


async def _reset_unfinished(cycle: Any) -> None:
    """Reset the connection of a response that was left in the middle and whose client does not take what was sent.

    cycle: uvicorn's own, by the names of its attributes; of other servers it has none, and nothing is done.
    """
    transport = getattr(cycle, "transport", None)
    is_unfinished = getattr(cycle, "response_started", False) and not getattr(cycle, "response_complete", True)
    if transport is None or not is_unfinished or transport.is_closing() or not transport.get_write_buffer_size():
        return
    if (connection := transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    # The server notices, and does not log a response that its application has not completed.
    await asyncio.sleep(0)
