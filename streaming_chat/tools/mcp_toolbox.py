"""The tools of an MCP server, as a toolbox.

Its list is asked for once in a while, and each conversation keeps the one that it began with. Before a call, the server is
asked whether the tool is still what the list says: a tool that has changed since does not run.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

from streaming_chat.conf import POSITIVE_SECONDS, STRING, STRINGS, optional
from streaming_chat.logs import describe, logger

from .context import ToolContext
from .frozen_lists import freeze, frozen_list
from .mcp_client import MAX_BYTES, AnswerTooLong, Connection, ServerFailed, connected
from .mcp_definitions import Definition, definition_of, usable
from .schemas import MAX_NAME_CHARS, without_patterns
from .tool import THREADS, Tool, ToolError, invalid_arguments
from .toolbox import Toolbox

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
# For all users, or a function (context) -> headers, which may be asynchronous.
Headers: TypeAlias = Mapping[str, str] | Callable[[ToolContext], Any]
Asking: TypeAlias = bool | Literal["unless_read_only"]

# Seconds: how long a list is good, how long one may take, and how long a server that failed is left alone.
_LIST_SECONDS = 300.0
_ASK_SECONDS = 10.0
_RETRY_SECONDS = 30.0
# Lists of different users that are kept.
_MAX_LISTS = 1_000
# OpenAI's limit for one request.
_MAX_TOOLS = 128
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,32}")

# For the model.
_UNREACHABLE = "The server of this tool cannot be reached now, so the call was not run."
_LOST = "The server of this tool failed during the call. The call may have had its effect."
_TOO_LONG = "The server of this tool sent an answer that is too long to be read. The call may have had its effect."
_LIST_TOO_LONG = "The server of this tool sent a list of tools that is too long to be read, so the call was not run."
_CHANGED = (
    "This tool has changed since this conversation began, so the call was not run. A new conversation can use it."
)


class McpToolbox(Toolbox):
    """The tools of an MCP server over streamable HTTP.

    url: The server's address. headers: What authorizes the requests: a dict for all users, or a function `(context)` that
    returns the headers of one user, asynchronous or not. approval: Whether a person must allow a call: `True`, `False`, or
    `"unless_read_only"`: unless the server says that the tool changes nothing. permission: What the user needs for any of
    the tools, as `app_label.codename`. only: The names of the tools that are used; None: all. prefix: What the names begin
    with for the model. timeout: Seconds that a call may take; None: `TOOL_SECONDS`.

    Raises ImportError without the package `mcp`, and ValueError for options that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Headers | None = None,
        approval: Asking = "unless_read_only",
        permission: str = "",
        only: Sequence[str] | None = None,
        prefix: str = "",
        timeout: float | None = None,
    ) -> None:
        super().__init__()
        if find_spec("mcp") is None:
            raise ImportError("McpToolbox needs the package mcp: pip install 'streaming-chat[mcp]'.")
        _check(
            url, headers=headers, approval=approval, permission=permission, only=only, prefix=prefix, timeout=timeout
        )
        # Shown to staff and in logs: a query may have a key.
        self.server = urlsplit(url)._replace(query="", fragment="").geturl()[:500]
        self._url = url
        self._headers = headers or {}
        self._approval = approval
        self._permission = permission
        self._only = only
        self._prefix = prefix
        self._timeout = timeout
        self._lists: dict[str, _Kept] = {}

    async def tools(self, context: ToolContext) -> Sequence[Tool]:
        """Return the tools with which a conversation began. None of a server that cannot be reached."""
        used = [each for each in await self._definitions(context) if self._is_used(each)]
        if len(used) > _MAX_TOOLS:
            logger.warning("%s tools of the MCP server %s are left out.", len(used) - _MAX_TOOLS, self.server)
        return [*self.declared.values(), *map(self._tool, used[:_MAX_TOOLS])]

    def permissions(self) -> set[str]:
        """Return the permissions that its tools ask for."""
        return super().permissions() | ({self._permission} if self._permission else set())

    def open_writes(self) -> list[str]:
        """Return, in words, what may change something and asks for no permission."""
        return [*super().open_writes(), *([] if self._permission else ["a tool of its MCP server"])]

    async def call(self, tool: McpTool, context: ToolContext, arguments: dict[str, Any]) -> str:
        """Call a tool of the server, unless it has changed. Raises ToolError."""
        begun = False

        async def call(connection: Connection) -> str:
            nonlocal begun
            if not await THREADS.call(self._is_offered, tool, await connection.offered()):
                raise ToolError(_CHANGED)
            begun = True
            return await connection.call(tool.definition.name, arguments)

        try:
            return await self._connected(context, call)
        except AnswerTooLong:
            logger.warning("The MCP server %s sent more than %s bytes, or compressed ones.", self.server, MAX_BYTES)
            raise ToolError(_TOO_LONG if begun else _LIST_TOO_LONG) from None
        except ServerFailed as error:
            logger.warning("The MCP server %s failed: %s", self.server, describe(error.__cause__ or error))
            raise ToolError(_LOST if begun else _UNREACHABLE) from None

    async def _definitions(self, context: ToolContext) -> Sequence[Definition]:
        conversation_id = context.conversation_id
        if conversation_id is None:
            return await self._offered(context) or []
        frozen = await THREADS.call(frozen_list, self.server, conversation_id)
        if frozen is None and (frozen := await self._offered(context)) is not None:
            await THREADS.call(freeze, self.server, conversation_id, frozen)
        return frozen or []

    async def _offered(self, context: ToolContext) -> list[Definition] | None:
        """Return what the server offers, at most some minutes ago; None if that is not known."""
        key = context.owner_key if callable(self._headers) else ""
        kept = self._lists.get(key)
        if kept is not None and time.monotonic() < kept.until:
            return kept.definitions
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                offered = await self._connected(context, Connection.offered)
            found, seconds = await THREADS.call(usable, offered), _LIST_SECONDS
        except Exception as error:  # noqa: BLE001  (also the site's own function for headers)
            logger.warning(
                "The MCP server %s did not list its tools: %s", self.server, describe(error.__cause__ or error)
            )
            found, seconds = kept and kept.definitions, _RETRY_SECONDS
        if len(self._lists) >= _MAX_LISTS:
            self._lists.clear()
        self._lists[key] = _Kept(time.monotonic() + seconds, found)
        return found

    async def _connected(self, context: ToolContext, use: Callable[[Connection], Awaitable[T]]) -> T:
        headers = await THREADS.call(self._headers, context) if callable(self._headers) else self._headers
        return await connected(self._url, headers, use)

    def _is_used(self, definition: Definition) -> bool:
        fits = len(definition.name_for_model(self._prefix)) <= MAX_NAME_CHARS
        return fits and (self._only is None or definition.name in self._only)

    def _is_offered(self, tool: McpTool, offered: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the server offers a tool with everything that its digest is of."""
        found = next((each for each in offered if each["name"] == tool.definition.name), None)
        try:
            return found is not None and self._tool(definition_of(found)).digest == tool.digest
        except ValueError:
            return False

    def _tool(self, definition: Definition) -> McpTool:
        return McpTool(
            name=definition.name_for_model(self._prefix),
            description=definition.description,
            parameters=definition.parameters,
            effect="read" if definition.read_only else "write",
            permission=self._permission,
            approval=not definition.read_only if self._approval == "unless_read_only" else self._approval,
            timeout=self._timeout,
            toolbox=self,
            definition=definition,
        )


class _Kept(NamedTuple):
    """A list that a server has given, good until a time of time.monotonic(); None if there was none."""

    until: float
    definitions: list[Definition] | None


@dataclass(frozen=True, kw_only=True, repr=False)
class McpTool(Tool):
    """A tool of an MCP server. Whatever the server says, a call of it is never repeated."""

    toolbox: McpToolbox
    definition: Definition

    def parse(self, arguments: str) -> BaseModel:
        """Validate the arguments by the schema that the model was given; the server validates them again."""
        try:
            found = json.loads(arguments.strip() or "{}")
        except (ValueError, RecursionError) as error:
            raise invalid_arguments(self.name, [f"Invalid JSON: {error}"]) from None
        if not isinstance(found, dict):
            raise invalid_arguments(self.name, [f"arguments: expected an object, got {type(found).__name__}"])
        if problems := [*_problems(self.parameters, found)]:
            raise invalid_arguments(self.name, problems)
        return _arguments_model().model_validate(found)

    async def call(self, context: ToolContext, arguments: BaseModel, *, key: str) -> str:
        """Call the tool on its server."""
        return await self.toolbox.call(self, context, arguments.model_dump())


def _problems(schema: Mapping[str, Any], arguments: dict[str, Any]) -> Iterator[str]:
    """Iterate over what is wrong, in words. Nothing is loaded from an address in the schema."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    validator = Draft202012Validator(without_patterns(schema), registry=Registry())
    for error in validator.iter_errors(arguments):
        where = ".".join(map(str, error.absolute_path)) or "arguments"
        yield f"{where}: {error.message:.200}"


@cache
def _arguments_model() -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    return create_model("McpArguments", __config__=ConfigDict(extra="allow"))


# Of each option: its name, what accepts a value, and what is expected, in words.
_RULES: Sequence[tuple[str, Callable[[Any], Any], str]] = (
    ("approval", lambda value: value in (True, False, "unless_read_only"), 'True, False or "unless_read_only"'),
    ("permission", STRING.accepts, '"app_label.codename" or ""'),
    ("only", optional(STRINGS).accepts, "None or a list of names"),
    (
        "prefix",
        lambda value: STRING.accepts(value) and _PREFIX.fullmatch(value),
        "up to 32 characters of A-Z a-z 0-9 _ -",
    ),
    ("timeout", optional(POSITIVE_SECONDS).accepts, "None or a number of seconds, more than 0"),
)


def _check(url: Any, **options: Any) -> None:
    """Raise ValueError for an option that is not as McpToolbox describes it. Neither address nor headers are shown."""
    parts = urlsplit(url) if isinstance(url, str) else None
    if not parts or parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError("url must be an http or https address without user name and password.")
    headers = options.pop("headers")
    if headers is not None and not isinstance(headers, Mapping) and not callable(headers):
        raise ValueError(f"headers must be None, a dict or a function (context), got {type(headers).__name__}.")
    for name, accepts, expected in _RULES:
        if not accepts(value := options[name]):
            raise ValueError(f"{name} must be {expected}, got {value!r:.80}.")
