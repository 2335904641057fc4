"""A site's tools in its own tests: one tool by itself, or scripted results in replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from streaming_chat.accounts.owners import user_key
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.engine.tool_runs import PendingCall
from streaming_chat.tools import InvalidArguments, Tool, Toolbox, ToolContext, result_text
from streaming_chat.tools.registry import toolbox_named
from streaming_chat.tools.tool import THREADS

_NAME = "scripted"


class ToolOutcome(NamedTuple):
    """What became of a call. status: as of a `tool_result`, or "waiting" if a person, or the client, must answer first.

    output: what the model is told.
    """

    status: str
    output: str


async def acall_tool(
    toolbox: Toolbox,
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    user: Any = None,
    approved: bool = False,
) -> ToolOutcome:
    """Call a tool as it is called for a model: see docs/testing.md.

    user: the owner of the conversation, None for a visitor. approved: whether a person has allowed the call, if it needs
    that. Raises KeyError for a tool that the toolbox does not have.
    """
    owner_key = user_key(user) if user else "v:test"
    context = ToolContext(user_id=user.pk if user else None, owner_key=owner_key)
    payload = {"id": "call_0", "name": name, "arguments": _json(arguments or {}), "complete": True}
    with _in_the_tests_thread():
        tools = {tool.name: tool for tool in await toolbox.tools(context)}
        call = PendingCall.of(payload, {name: tools[name]}, context)
        await call.judge(0)
        if call.result is None and (not call.waits_for or (approved and call.waits_for == "approval")):
            await call.run()
    result = call.result.payload if call.result else {"status": "waiting", "output": ""}
    return ToolOutcome(result["status"], result["output"])


def call_tool(toolbox: Toolbox, name: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> ToolOutcome:
    """Do the same in a test that is not asynchronous."""
    return async_to_sync(acall_tool)(toolbox, name, arguments, **options)


@dataclass(frozen=True, kw_only=True, repr=False)
class ScriptedTool(Tool):
    """A tool that is not called. original: the tool in whose place it is, None if there is none. result: or an exception."""

    original: Tool | None
    result: Any

    def parse(self, arguments: str) -> Any:
        """Validate the arguments, as the original does."""
        if self.original is not None:
            return self.original.parse(arguments)
        try:
            return SimpleNamespace(**json.loads(arguments))
        except (ValueError, TypeError) as error:
            raise InvalidArguments(f"The arguments of {self.name} must be an object.") from error

    async def call(self, context: ToolContext, arguments: Any, *, key: str) -> str:
        """Return the scripted result."""
        if isinstance(self.result, BaseException):
            raise self.result
        return result_text(self.result)


class ScriptedToolbox(Toolbox):
    """The tools of some toolboxes, of which some are not called. What `scripted_provider` gives its model."""

    def __init__(self) -> None:
        super().__init__()
        # A block inside a block has its own.
        self._scripted: list[tuple[Sequence[str], Mapping[str, Any]]] = []

    def begin(self, model: str, names: Sequence[str], results: Mapping[str, Any]) -> dict[str, Any]:
        """Have these tools from now on; return the settings by which a model gets them.

        Raises ValueError inside a transaction, which the tools' threads would not see.
        """
        if connections[live_database()].in_atomic_block:
            raise ValueError(
                "Tools run in threads, which do not see a TestCase's transaction: use a TransactionTestCase."
            )
        self._scripted.append((names, results))
        return {
            "STREAMING_CHAT_TOOLS": {**conf.STREAMING_CHAT_TOOLS, _NAME: f"{__name__}.toolbox"},
            "STREAMING_CHAT_MODEL_OPTIONS": {model: {"tools": [_NAME]}},
        }

    def end(self) -> None:
        """Have the tools of before."""
        self._scripted.pop()

    async def tools(self, context: ToolContext) -> Sequence[Tool]:
        """Return the tools, and one for each result that is of none of them."""
        names, results = self._scripted[-1]
        found = [tool for name in names for tool in await toolbox_named(name).tools(context)]
        others = results.keys() - {tool.name for tool in found}
        free = [
            Tool(name=name, description="", parameters={"type": "object", "properties": {}}) for name in sorted(others)
        ]
        return [
            *(_scripted(tool, tool, results[tool.name]) if tool.name in results else tool for tool in found),
            *(_scripted(tool, None, results[tool.name]) for tool in free),
        ]


toolbox = ScriptedToolbox()


def _scripted(like: Tool, original: Tool | None, result: Any) -> ScriptedTool:
    values = {field.name: getattr(like, field.name) for field in fields(Tool)}
    return ScriptedTool(**values, original=original, result=result)


@contextmanager
def _in_the_tests_thread() -> Iterator[None]:
    """Have tools called where they see what the test has saved."""
    THREADS.has_own = False
    try:
        yield
    finally:
        THREADS.has_own = True


def _json(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, cls=DjangoJSONEncoder)
