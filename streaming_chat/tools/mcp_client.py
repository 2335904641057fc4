"""The connection to an MCP server over streamable HTTP, by the package `mcp`. It is imported at the first connection only.

A connection lasts for one use: it belongs to one user and one event loop, and nothing is kept alive between replies.

Source: https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .tool import THREADS, ToolError

if TYPE_CHECKING:
    from .mcp_limit import ReceiveLimit

T = TypeVar("T")

# Seconds. The caller limits the whole.
_CONNECT_SECONDS = 5.0
_MAX_PAGES = 20
# Of all that a server sends in one connection, without headers. As JSON, a result of MAX_TOOL_OUTPUT_CHARS (20,000) has at
# most 240 kB. As Python objects, it can take twenty times as much memory.
MAX_BYTES = 2 * 1024 * 1024
# Their errors quote what a server has sent.
_LOGGERS = ("mcp.client", "mcp.shared")


class ServerFailed(Exception):
    """The server could not be reached, or did not answer as an MCP server does."""


class AnswerTooLong(ServerFailed):
    """The server has sent more than MAX_BYTES, or a compressed answer, which was not asked for."""


class _Packages(NamedTuple):
    """What is imported for a connection."""

    receive_limit: type[ReceiveLimit]
    client: Any
    transport: Any
    http_client: Any
    timeout: Any
    protocol_error: type[Any]
    closed: int


async def connected(url: str, headers: Mapping[str, str], use: Callable[[Connection], Awaitable[T]]) -> T:
    """Connect to a server and return what `use` returns. Raises ServerFailed, and the ToolError that `use` raises."""
    packages: _Packages = await THREADS.call(_import)
    # The packages wrap what is raised inside their task groups, so nothing is.
    outcome: list[T] = []
    errors: list[Exception] = []
    limit: ReceiveLimit | None = None

    async def use_connection(connection: Connection) -> None:
        try:
            outcome.append(await use(connection))
        except Exception as error:  # noqa: BLE001  (raised below)
            errors.append(error)

    try:
        async with asyncio.timeout(None) as timeout:
            limit = packages.receive_limit(MAX_BYTES, timeout)
            await _connect(url, headers, packages, limit, use_connection)
    except Exception as error:  # noqa: BLE001  (a group of any of the packages' errors)
        errors.append(error)
    if outcome:
        # What fails afterwards is only the end of the connection.
        return outcome[0]
    if limit is not None and limit.is_exceeded:
        raise AnswerTooLong
    if isinstance(errors[0], ToolError):
        raise errors[0]
    raise ServerFailed from _first(errors[0])


async def _connect(
    url: str,
    headers: Mapping[str, str],
    packages: _Packages,
    limit: ReceiveLimit,
    use: Callable[[Connection], Awaitable[None]],
) -> None:
    http_client = packages.http_client(
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=packages.timeout(None, connect=_CONNECT_SECONDS),
        trust_env=False,
        event_hooks={"response": [limit.watch]},
    )
    async with http_client:
        transport = packages.transport(url, http_client=http_client, max_sse_event_size=MAX_BYTES)
        async with packages.client(transport, cache=None) as client:
            await use(Connection(client, packages))


class Connection:
    """A connection to a server, while it is used."""

    def __init__(self, client: Any, packages: _Packages) -> None:
        self._client = client
        self._packages = packages

    async def offered(self) -> list[dict[str, Any]]:
        """Return all tools of the server: `name`, `description`, `parameters` and `read_only` of each."""
        found: list[dict[str, Any]] = []
        cursor = None
        for _page in range(_MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += map(_plain, page.tools)
            if not (cursor := page.next_cursor):
                break
        return found

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool and return its result as text. Raises ToolError for an error that the tool or the server reports."""
        try:
            result = await self._client.call_tool(name, arguments)
        except self._packages.protocol_error as error:
            if error.code == self._packages.closed:
                raise
            raise ToolError(f"The server of this tool reports an error: {error.message}") from None
        text = _text_of(result)
        if result.is_error:
            raise ToolError(text or "The tool failed and did not say why.")
        return text


def _first(error: BaseException) -> BaseException:
    """Return the first error in nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _import() -> _Packages:
    """Import the packages, which takes a second, and silence them."""
    from httpx2 import AsyncClient, Timeout
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED

    from .mcp_limit import ReceiveLimit

    for name in _LOGGERS:
        # A level that the site has chosen stays.
        if (logger := logging.getLogger(name)).level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
    return _Packages(ReceiveLimit, Client, streamable_http_client, AsyncClient, Timeout, MCPError, CONNECTION_CLOSED)


def _plain(tool: Any) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description or "",
        "parameters": tool.input_schema,
        "read_only": bool(tool.annotations and tool.annotations.read_only_hint),
    }


def _text_of(result: Any) -> str:
    """Return the texts of a result, or else its object; of anything else, only what it is."""
    texts = [_text_of_block(block) for block in result.content]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n\n".join(texts)


def _text_of_block(block: Any) -> str:
    if block.type == "text":
        return block.text
    if block.type == "resource_link":
        return f"[{block.name}]({block.uri})"
    if block.type == "resource" and isinstance(text := getattr(block.resource, "text", None), str):
        return text
    kind = getattr(block, "mime_type", "") or getattr(getattr(block, "resource", None), "mime_type", "") or block.type
    return f"[The result has {kind}, which cannot be shown.]"
