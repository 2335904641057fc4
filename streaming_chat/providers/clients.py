"""Clients of the providers' SDKs: one a loop, over aiohttp, with a key that nothing shows. Imports no SDK."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.conf import conf

# aiohttp takes None for 100; a process writes up to STREAMING_CHAT_MAX_LIVE_REPLIES (2 000) at once.
MAX_CONNECTIONS = 10_000
# How long an idle connection is kept, in seconds: a new one costs two round trips and a TLS handshake.
KEEPALIVE_SECONDS = 15.0


class Secret:
    """A string that no log, error page or error tracker shows: its repr is empty."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return ""


class Clients:
    """One SDK client per event loop: a client used from a second loop fails, and one takes 22 ms to build.

    build: makes one, whose `close` is a coroutine function; it must not refer to this object's owner. A client is
    closed when its loop shuts down its asynchronous generators, as asyncio.run and asgiref do, or when this object
    goes. Loops that were closed otherwise are forgotten with the next client.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}

    async def get(self) -> Any:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None:
            # A client refers to its loop, so a weak dictionary would keep both for ever.
            for closed in [other for other in self._clients if other.is_closed()]:
                del self._clients[closed]
            client = self._build()
            keeper = _keep(weakref.ref(self), loop, client)
            self._clients[loop] = held = client, keeper
            await anext(keeper)
        return held[0]

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop a loop's client, which is closed."""
        self._clients.pop(loop, None)

    def __len__(self) -> int:
        return len(self._clients)


async def _keep(
    clients: weakref.ref[Clients], loop: asyncio.AbstractEventLoop, client: Any
) -> AsyncGenerator[None, None]:
    """Wait, suspended, for the loop's end; then close the client."""
    try:
        yield
    finally:
        if (holder := clients()) is not None:
            holder.forget(loop)
        await client.close()


def import_sdk(name: str) -> ModuleType:
    """Return an SDK's module; that takes 0.5-2.8 s and 50-80 MB, so only a configured provider does it.

    Raises ImproperlyConfigured where it, or aiohttp, is not installed.
    """
    try:
        import_module("aiohttp")
        return import_module(name)
    except ImportError:
        raise ImproperlyConfigured(f"This provider needs: pip install 'streaming-chat[{name}]'.") from None


def http_client(sdk: ModuleType) -> Any:
    """Return an HTTP client for an SDK: over aiohttp, without redirects, for many connections."""
    httpx2 = import_module("httpx2")
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_SECONDS
    )
    return sdk.DefaultAioHttpClient(limits=limits, timeout=None, follow_redirects=False)


def timeout() -> Any:
    """Return how long a connection may take, pool, DNS, TCP and TLS together; silence is the runner's to judge.

    No read timeout: aiohttp would move a timer at each read.
    """
    seconds = conf.STREAMING_CHAT_CONNECT_SECONDS
    return import_module("httpx2").Timeout(None, connect=seconds, pool=seconds)
