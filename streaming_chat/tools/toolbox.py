"""Declares tools: a Toolbox is what STREAMING_CHAT_TOOLS names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from .context import ToolContext
from .functions import function_tool
from .tool import Approval, Effect, Place, Tool

F = TypeVar("F", bound=Callable[..., Any])


class Toolbox:
    """The tools of one subject, which a model gets together. declared: the ones that are known without asking a server."""

    def __init__(self) -> None:
        self.declared: dict[str, Tool] = {}

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        effect: Effect = "read",
        permission: str = "",
        approval: Approval = False,
        timeout: float | None = None,
        idempotent: bool = False,
        runs: Place = "server",
        editable: bool = False,
    ) -> Callable[[F], F]: ...

    def tool(self, function: F | None = None, /, *, name: str | None = None, **options: Any) -> F | Callable[[F], F]:
        """Decorator: declare a function as a tool. The function stays as it is.

        The options are those of `Tool`; name: the function's own by default. Raises ImportError without pydantic, and
        TypeError or ValueError for a function that cannot be a tool.
        """

        if function is not None and not callable(function):
            raise TypeError(f"Options of tool() are passed by name, such as name=…, got {function!r:.80}.")

        def declare(function: F) -> F:
            tool = function_tool(function, name=name or function.__name__, **options)
            if tool.name in self.declared:
                raise ValueError(f"The toolbox already has a tool named {tool.name}.")
            self.declared[tool.name] = tool
            return function

        return declare if function is None else declare(function)

    async def tools(self, context: ToolContext) -> Sequence[Tool]:
        """Return the tools for a conversation."""
        return [*self.declared.values()]

    def permissions(self) -> set[str]:
        """Return the permissions that its tools ask for."""
        return {tool.permission for tool in self.declared.values() if tool.permission}

    def open_writes(self) -> list[str]:
        """Return, in words, what changes something and asks for no permission, so that visitors can reach it."""
        tools = self.declared.values()
        return [f"the tool {tool.name}" for tool in tools if tool.effect == "write" and not tool.permission]
