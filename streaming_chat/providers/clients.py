"""Clients of the providers' SDKs: one per event loop, over aiohttp, with a key that no log shows.

Importing an SDK takes 0.5 to 2.8 s and 50 to 80 MB, which no command should cost: it is imported when a process begins to
serve (preparation.py), or at its first reply.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.logs import guard

from .error_bodies import shorten_error

# aiohttp takes None for 100; a process has up to STREAMING_CHAT_MAX_LIVE_REPLIES (2 000) replies in progress.
MAX_CONNECTIONS = 10_000
# How long an idle connection is kept, in seconds. A new one costs two round trips and a TLS handshake.
KEEPALIVE_SECONDS = 15.0


class Secret:
    """A key that no log, error page or error tracker shows, since its repr is empty."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise ValueError(f"api_key must be a string that is not empty, got {type(value).__name__}")
        self.value = value

    def __repr__(self) -> str:
        return ""


@dataclass(frozen=True, repr=False)
class Address:
    """The base URL of an API. Its path may have a key: it is in no repr, and neither the SDK nor its loggers learn it."""

    origin: str
    path: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises ValueError, which does not quote the URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must begin with http:// or https:// and a host")
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise ValueError("base_url must have no user name, password, query or fragment; use api_key for the key")
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"))


class _HiddenPath:
    """A transport of httpx2 that puts the path of an address before that of each request.

    httpx2 logs the address of each request at INFO, and an SDK at DEBUG: both log the one without this path.
    """

    def __init__(self, transport: Any, path: str) -> None:
        self._transport = transport
        self._path = path.encode()

    async def handle_async_request(self, request: Any) -> Any:
        shown = request.url
        request.url = shown.copy_with(raw_path=self._path + shown.raw_path)
        try:
            return await self._transport.handle_async_request(request)
        finally:
            request.url = shown

    async def aclose(self) -> None:
        await self._transport.aclose()


class Clients:
    """One SDK client per event loop: a client used from a second loop fails, and one takes 22 ms to build.

    sdk: name of the SDK's module. build: returns a client of that module, whose `close` is a coroutine function; it must
    not refer to this object's owner. A client is closed when its loop shuts down its asynchronous generators, as
    asyncio.run and asgiref do, or when this object is collected. Loops that were closed otherwise are forgotten with the
    next client.
    """

    def __init__(self, sdk: str, build: Callable[[ModuleType], Any]) -> None:
        """Raises ImproperlyConfigured if the SDK, or aiohttp, is not installed."""
        if not all(map(find_spec, (sdk, "aiohttp"))):
            raise ImproperlyConfigured(f"it needs packages that are missing: pip install 'streaming-chat[{sdk}]'.")
        self._sdk = sdk
        self._build = build
        self._is_loaded = False
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}

    def load(self) -> None:
        """Import the SDK, and what it imports for its first client. Blocking: the first time in a process, for seconds."""
        if not self._is_loaded:
            # It opens nothing, since it sends nothing.
            self._build(import_module(self._sdk))
            self._is_loaded = True

    async def get(self) -> Any:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            # In a thread, since other replies of the loop would have to wait.
            await asyncio.to_thread(self.load)
            # Another reply may have built the client meanwhile.
            if loop not in self._clients:
                await self._open(loop)
        return self._clients[loop][0]

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        # A client refers to its loop, so a weak dictionary would keep both for ever.
        for closed in [other for other in self._clients if other.is_closed()]:
            del self._clients[closed]
        client = self._build(import_module(self._sdk))
        keeper = _keep(weakref.ref(self), loop, client)
        self._clients[loop] = client, keeper
        await anext(keeper)

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget a loop's client, which is closed."""
        self._clients.pop(loop, None)

    def __len__(self) -> int:
        return len(self._clients)


async def _keep(
    clients: weakref.ref[Clients], loop: asyncio.AbstractEventLoop, client: Any
) -> AsyncGenerator[None, None]:
    """Stay suspended until the loop ends; then close the client."""
    try:
        yield
    finally:
        if (holder := clients()) is not None:
            holder.forget(loop)
        await client.close()


def http_client(sdk: ModuleType, path: str) -> Any:
    """Return an HTTP client for an SDK: over aiohttp, for many connections, with short error bodies.

    It follows no redirects, since the request to the other host would contain the key. path: of its Address.
    """
    httpx2 = import_module("httpx2")
    # They log the reason phrase and the id of a response.
    guard("httpx2", f"{sdk.__name__}._base_client")
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_SECONDS
    )
    client = sdk.DefaultAioHttpClient(
        limits=limits, timeout=None, follow_redirects=False, event_hooks={"response": [shorten_error]}
    )
    client._transport = _HiddenPath(client._transport, path)
    # The proxies that the environment names.
    client._mounts = {url: proxy and _HiddenPath(proxy, path) for url, proxy in client._mounts.items()}
    return client


def connect_timeout(seconds: float) -> Any:
    """Return the timeout of an SDK's request: for the pool, DNS, TCP and TLS together.

    It has no read timeout, for which aiohttp would move a timer at each read: the engine notices a stall.
    """
    return import_module("httpx2").Timeout(None, connect=seconds, pool=seconds)
