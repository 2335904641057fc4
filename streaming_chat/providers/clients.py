"""Clients of the providers: one per event loop, with the headers of an SDK, over aiohttp, and with a key that no log shows.

Importing an SDK takes 0.5 to 2.8 s and 50 to 80 MB, which no command should cost: it is imported when a process begins to
serve (preparation.py), or at its first reply.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from streaming_chat.logs import guard

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
    """The base URL of an API. Its path may have a key: it is in no repr, and neither the SDK nor a logger learns it."""

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

    httpx2 logs the address of each request at INFO: the one without this path.
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


class Client:
    """Posts JSON to one URL. Its address and its headers are made once, from those of an SDK's client.

    An SDK makes each request anew, and looks through each message of the prompt: with 50 messages, a third of a send.
    sdk: the SDK's client, of which only public properties are used. http: from http_client. path: below the base URL.
    connect_seconds: for the pool, DNS, TCP and TLS together.
    """

    def __init__(self, sdk: Any, http: Any, path: str, connect_seconds: float) -> None:
        httpx2 = import_module("httpx2")
        # There is no read timeout, for which aiohttp would move a timer at each read: the engine notices a stall.
        timeout = httpx2.Timeout(None, connect=connect_seconds, pool=connect_seconds)
        self._request = partial(
            httpx2.Request,
            "POST",
            sdk.base_url.join(path),
            headers=_headers(sdk, http),
            extensions={"timeout": timeout.as_dict()},
        )
        self._http = http

    async def post(self, body: dict[str, Any]) -> Any:
        """Return the response, once its headers have arrived, whatever its status. Raises what httpx2 raises."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return await self._http.send(self._request(content=content), stream=True)

    async def close(self) -> None:
        await self._http.aclose()


def _headers(sdk: Any, http: Any) -> Any:
    """Return the headers that an SDK's client sends with each request."""
    headers = http.headers.copy()
    for name, value in {**sdk.auth_headers, **sdk.default_headers}.items():
        # Another value marks a header that is not sent.
        if isinstance(value, str):
            headers[name] = value
    headers["Accept-Encoding"] = "identity"
    return headers


class Clients:
    """One client per event loop: a client used from a second loop fails, and one takes 22 ms to build.

    sdk: name of the SDK's module. build: returns a client made with that module; it must not refer to this object's owner.
    A client is closed when its loop shuts down its asynchronous generators, as asyncio.run and asgiref do, or when this
    object is collected. Loops that were closed otherwise are forgotten with the next client.
    """

    def __init__(self, sdk: str, build: Callable[[ModuleType], Client]) -> None:
        """Raises ImproperlyConfigured if the SDK, or aiohttp, is not installed."""
        if not all(map(find_spec, (sdk, "aiohttp"))):
            raise ImproperlyConfigured(f"it needs packages that are missing: pip install 'streaming-chat[{sdk}]'.")
        self._sdk = sdk
        self._build = build
        self._is_loaded = False
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Client, AsyncGenerator[None, None]]] = {}

    def load(self) -> None:
        """Import the SDK, and what it imports for its first client. Blocking: the first time in a process, for seconds."""
        if not self._is_loaded:
            # It opens nothing, since it sends nothing.
            self._build(import_module(self._sdk))
            self._is_loaded = True

    async def get(self) -> Client:
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
    clients: weakref.ref[Clients], loop: asyncio.AbstractEventLoop, client: Client
) -> AsyncGenerator[None, None]:
    """Stay suspended until the loop ends; then close the client."""
    try:
        yield
    finally:
        if (holder := clients()) is not None:
            holder.forget(loop)
        await client.close()


def http_client(sdk: ModuleType, path: str) -> Any:
    """Return an HTTP client of an SDK: over aiohttp, for many connections.

    It follows no redirects, since the request to the other host would contain the key. path: of its Address.
    """
    httpx2 = import_module("httpx2")
    # It logs the reason phrase of a response.
    guard("httpx2")
    limits = httpx2.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_SECONDS
    )
    client = sdk.DefaultAioHttpClient(limits=limits, timeout=None, follow_redirects=False)
    client._transport = _HiddenPath(client._transport, path)
    # The proxies that the environment names.
    client._mounts = {url: proxy and _HiddenPath(proxy, path) for url, proxy in client._mounts.items()}
    return client
