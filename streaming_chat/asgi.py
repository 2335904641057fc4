"""An ASGI application whose requests share a few threads: for a site that keeps many replies open.

Django gives every request under ASGI a thread of its own to its end: 1,000 open replies are 1,000 threads. In your asgi.py:

    from streaming_chat.asgi import get_asgi_application

    application = get_asgi_application()

The price: synchronous code of all requests runs on these threads, one call at a time each, so a slow synchronous view, or
a synchronous middleware around an async view that takes its time, holds up others. Needs asgiref 3.13.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core import asgi

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
        async with ThreadSensitiveContext(executor=next(self._executors)):
            await self._application(scope, receive, send)
