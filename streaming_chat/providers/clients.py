"""The clients of a provider: one per event loop, with the headers of an SDK, and with a key that no log shows.

Importing an SDK takes 0.5 to 2.8 s and 50 to 80 MB, which no command should cost: it is imported when a process begins to
serve (preparation.py), or at its first reply.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from .http_client import Client


# A line break is left by reading a file. Any of these would fail only at the first reply.
_KEY = re.compile(r"[\x21-\x7e]+")


class Secret:
    """A key that no log, error page or error tracker shows, since its repr is empty."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise ValueError(f"api_key must be a string, got {type(value).__name__}")
        if not value.strip():
            raise ValueError("api_key is empty")
        if not _KEY.fullmatch(value):
            raise ValueError("api_key has white space, a line break or another character that no header may have")
        self.value = value

    def __repr__(self) -> str:
        return ""


@dataclass(frozen=True, repr=False)
class Address:
    """The base URL of an API. Its path may have a key: it is in no repr, and the SDK does not learn it."""

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

    @property
    def host(self) -> str:
        """The name of the host, in lower case."""
        return urlsplit(self.origin).hostname or ""

    def url(self, path: str) -> str:
        """Return the URL of a path below this one."""
        return f"{self.origin}{self.path}/{path}"


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
        client.open()
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
