"""Posts JSON over aiohttp, with the headers of an SDK's client. Importing this module imports aiohttp and httpx2.

An SDK makes each request anew, through three libraries, and looks through each message of the prompt: with 50 messages, a
third of a send. Of its client, only public properties are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

# aiohttp's own limit is 100; a process has up to STREAMING_CHAT_MAX_LIVE_REPLIES (2 000) replies in progress.
MAX_CONNECTIONS = 10_000
# How long an idle connection is kept, in seconds. A new one costs two round trips and a TLS handshake.
KEEPALIVE_SECONDS = 15.0


class Response(aiohttp.ClientResponse):
    """A response whose repr shows neither its address, whose path may have a key, nor its headers."""

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Client:
    """Posts JSON to one URL, in the event loop in which it is opened.

    It keeps no cookies, and follows no redirects, since the request to the other host would contain the key.
    headers: sent with each request. connect_seconds: for the pool, DNS, TCP and TLS together.
    """

    _session: aiohttp.ClientSession

    def __init__(self, url: str, headers: CIMultiDict[str], connect_seconds: float) -> None:
        self._url = URL(url)
        self._headers = headers
        self._tls = _tls()
        self._proxy = _proxy_for(url)
        # There is no read timeout, for which aiohttp would move a timer at each read: the engine notices a stall.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)

    def open(self) -> None:
        """Get ready to send, in the running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
            response_class=Response,
            timeout=self._timeout,
        )

    async def post(self, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> aiohttp.ClientResponse:
        """Return the response, once its headers have arrived, whatever its status. Raises what aiohttp raises.

        headers: in addition to those that are sent with each request, or in their place.
        """
        content = _encoded(body)
        # The headers of a session would be sent to the proxy, too.
        sent = self._with(headers) if headers else self._headers
        return await self._session.post(self._url, data=content, headers=sent, allow_redirects=False)

    async def request(self, method: str, url: str, **content: Any) -> aiohttp.ClientResponse:
        """Do the same at another URL of the API. content: `json` or `data`, as aiohttp takes them."""
        sent = self._headers.copy()
        if isinstance(content.get("data"), aiohttp.FormData):
            # Its own has the boundary between the fields.
            sent.popall("Content-Type", None)
        return await self._session.request(method, URL(url), headers=sent, allow_redirects=False, **content)

    def _with(self, headers: Mapping[str, str]) -> CIMultiDict[str]:
        sent = self._headers.copy()
        for name, value in headers.items():
            sent[name] = value
        return sent

    async def close(self) -> None:
        await self._session.close()


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        # Half a character in the provider's own state, which it gets back as it was.
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def unused_http_client() -> httpx2.AsyncClient:
    """Return the HTTP client for an SDK's client that sends nothing."""
    return httpx2.AsyncClient(verify=_tls())


def headers_of(sdk: Any) -> CIMultiDict[str]:
    """Return the headers that an SDK's client sends with each request."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in {**sdk.auth_headers, **sdk.default_headers}.items():
        # Another value marks a header that is not sent.
        if isinstance(value, str):
            headers[name] = value
    headers["Accept-Encoding"] = "identity"
    return headers


@cache
def _tls() -> SSLContext:
    """Return the certificates that the SDKs trust. Reading them takes 20 ms."""
    return httpx2.create_ssl_context()


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL, as the SDKs find it."""
    parts, proxies = urlsplit(url), getproxies()
    if proxy_bypass(parts.netloc):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
