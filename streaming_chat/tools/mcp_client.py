"""The connection to an MCP server over streamable HTTP, by the package `mcp`. It is imported at the first connection only.

A connection lasts for one use: it belongs to one user and one event loop, and nothing is kept alive between replies.

Source: https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from .tool import THREADS, ToolError

T = TypeVar("T")

# Seconds. The caller limits the whole.
_CONNECT_SECONDS = 5.0
_MAX_PAGES = 20
# Their errors quote what a server has sent.
_LOGGERS = ("mcp.client", "mcp.shared")


class ServerFailed(Exception):
    """The server could not be reached, or did not answer as an MCP server does."""


class _Packages(NamedTuple):
    """What is imported for a connection."""

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
    timeout = packages.timeout(None, connect=_CONNECT_SECONDS)
    try:
        async with packages.http_client(headers=dict(headers), timeout=timeout, trust_env=False) as http_client:
            transport = packages.transport(url, http_client=http_client)
            async with packages.client(transport, cache=None) as client:
                try:
                    outcome.append(await use(Connection(client, packages)))
                except Exception as error:  # noqa: BLE001  (raised below)
                    errors.append(error)
    except Exception as error:  # noqa: BLE001  (a group of any of the packages' errors)
        errors.append(error)
    if outcome:
        # What fails afterwards is only the end of the connection.
        return outcome[0]
    if isinstance(errors[0], ToolError):
        raise errors[0]
    raise ServerFailed from _first(errors[0])


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

    for name in _LOGGERS:
        # A level that the site has chosen stays.
        if (logger := logging.getLogger(name)).level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
    return _Packages(Client, streamable_http_client, AsyncClient, Timeout, MCPError, CONNECTION_CLOSED)


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
