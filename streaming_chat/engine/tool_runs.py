"""Runs one call of a tool, as the owner of the conversation: what may prevent it, and the result whatever happens.

Everything that the site has written is called here: validators, policies and tools. None of it can break a reply.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streaming_chat.conf import conf
from streaming_chat.logs import describe, logger
from streaming_chat.protocol import tool_calls
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.storable_text import storable
from streaming_chat.tools import InvalidArguments, Tool, ToolContext, ToolError
from streaming_chat.tools.tool import THREADS

from .call_log import NotedCall
from .resumed import Answer

# Of one step; a model that asks for more is told so. Each is a row, and may be a connection.
MOST_CALLS = 32

# For the model.
_UNKNOWN_TOOL = "There is no tool named {name}."
_TOO_MANY = f"This call was not run, because at most {MOST_CALLS} calls can be made at once."
_NOT_JSON = "This call was not run, because its arguments are not complete JSON."
_NO_PERMISSION = "This call was not run, because the user does not have permission for it."
_NOT_JUDGED = "This call was not run, because the server was too busy."
_FAILED = "The tool failed. The reference of the error is {ref}."
_TOO_SLOW = "The tool did not answer within {seconds:g} seconds."
_TOO_SLOW_WRITE = " It may have had its effect, or have it later: find that out before you call the tool again."
_CHANGED = "This call was not run, because the tool has changed since the user allowed it."
_CUT = "\n[The output was cut off: it had {chars} characters, of which these are the first {kept}.]"
_EDITED = "[The user has changed the arguments of this call to {arguments}]\n"


@dataclass(repr=False)
class PendingCall:
    """A call that a model has made. Its repr is the default one: no text in logs.

    tool: None if there is none of this name. parsed: its arguments. waits_for: "approval" or "client", or "" for nothing.
    has_started: its tool has been called. result: its event, once there is one. note: what the result begins with.
    """

    id: str
    name: str
    arguments: str
    is_complete: bool
    context: ToolContext
    tool: Tool | None = None
    parsed: Any = None
    waits_for: str = ""
    has_started: bool = False
    result: Event | None = None
    note: str = ""

    @classmethod
    def of(cls, payload: Mapping[str, Any], tools: Mapping[str, Tool], context: ToolContext) -> PendingCall:
        """Return the call of an event. context: of the reply."""
        name, call_id = payload["name"], payload["id"]
        context = replace(context, call_id=call_id)
        return cls(call_id, name, payload["arguments"], payload["complete"], context, tools.get(name))

    @property
    def noted(self) -> NotedCall:
        """What is saved before the call runs, or waits."""
        is_idempotent = self.tool is not None and self.tool.idempotent
        return NotedCall(self.id, self.tool.digest if self.tool else "", is_idempotent)

    @property
    def asked(self) -> dict[str, Any]:
        """What the approval event says of it."""
        is_editable = self.waits_for == "approval" and self.tool is not None and self.tool.editable
        return {"id": self.id, "runs": "client" if self.waits_for == "client" else "server", "editable": is_editable}

    def end(self, status: str, output: str, ms: int = 0) -> None:
        """Set the result, if there is none yet."""
        self.result = self.result or tool_calls.result(self.id, status, self.note + output, ms)

    async def judge(self, place: int) -> None:
        """Find out whether it may run: set its result if not, and for what it must wait. place: among those of its step."""
        if place >= MOST_CALLS:
            self.end(tool_calls.ERROR, _TOO_MANY)
        else:
            await self._in_time(self._judge())

    async def judge_answered(self, answer: Answer) -> None:
        """Find out whether it may run after an answer: the tool, the permission and the policy are looked at again."""
        await self._in_time(self._judge_answered(answer))
        if self.result is not None:
            # Also of a call that cannot be repeated.
            self.result = answer.result(self.id) or self.result

    async def _in_time(self, judging: Awaitable[None]) -> None:
        """Await what calls the site's own code, which may find no free thread."""
        seconds = conf.STREAMING_CHAT_TOOL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await judging
        except TimeoutError:
            logger.warning(
                "Whether a tool of reply %s may run took longer than %s s.", self.context.message_id, seconds
            )
            self.end(tool_calls.ERROR, _NOT_JUDGED)

    async def _judge(self) -> None:
        if await self._can_run() and self.tool is not None:
            if self.tool.runs == "client":
                self.waits_for = "client"
            elif await self._needs_approval(self.tool):
                self.waits_for = "approval"

    async def _judge_answered(self, answer: Answer) -> None:
        if answer.output is not None or not answer.approved:
            self.result = answer.result(self.id)
        elif self.tool is None or self.tool.digest != answer.digest:
            self.end(tool_calls.ERROR, _CHANGED)
        else:
            if answer.arguments is not None:
                self.arguments, self.is_complete = answer.arguments, True
                self.note = _EDITED.format(arguments=answer.arguments)
            # The policy may refuse by raising; that it asks for an approval has been answered.
            if await self._can_run():
                await self._needs_approval(self.tool)

    async def run(self) -> None:
        """Call the tool, and set the result. Raises CancelledError only."""
        if self.tool is not None:
            self.has_started = True
            await self._run(self.tool)

    async def _run(self, tool: Tool) -> None:
        started, seconds = time.monotonic(), tool.seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                returned = await tool.call(self.context, self.parsed, key=self._key)
            status, output = tool_calls.OK, _cut(storable(returned))
        except ToolError as error:
            status, output = tool_calls.ERROR, _cut(storable(str(error)))
        except Exception as error:  # noqa: BLE001  (a site's own function)
            if limit.expired():
                status, output = self._too_slow(seconds)
            else:
                status, output = tool_calls.ERROR, self._failed("failed", error)
        self.end(status, output, round((time.monotonic() - started) * 1000))

    @property
    def _key(self) -> str:
        # With the message, since some servers number the calls of each reply alike.
        return f"{self.context.message_id}/{self.id}"

    async def _can_run(self) -> bool:
        """Return whether the arguments are valid and the owner has the permission; set the result if not."""
        if self.tool is None:
            self.end(tool_calls.ERROR, _UNKNOWN_TOOL.format(name=self.name))
        elif not self.is_complete:
            self.end(tool_calls.ERROR, _NOT_JSON)
        else:
            await self._parse(self.tool)
            if not self.result and not await self._is_permitted(self.tool):
                self.end(tool_calls.DENIED, _NO_PERMISSION)
        return self.result is None

    async def _parse(self, tool: Tool) -> None:
        try:
            # In a thread, since a validator may be the site's own.
            self.parsed = await THREADS.call(tool.parse, self.arguments)
        except InvalidArguments as error:
            self.end(tool_calls.ERROR, storable(str(error)))
        except Exception as error:  # noqa: BLE001  (a site's own validator)
            self.end(tool_calls.ERROR, self._failed("could not check its arguments", error))

    async def _is_permitted(self, tool: Tool) -> bool:
        try:
            return await THREADS.call(_may_call, self.context, tool.permission)
        except Exception as error:  # noqa: BLE001  (a site's own authentication backend)
            self._failed("could not be permitted", error)
            return False

    async def _needs_approval(self, tool: Tool) -> bool:
        try:
            return await tool.needs_approval(self.context, self.parsed)
        except ToolError as error:
            self.end(tool_calls.DENIED, storable(str(error)))
            return False
        except Exception as error:  # noqa: BLE001  (a site's own policy)
            self.end(tool_calls.DENIED, self._failed("could not be allowed", error))
            return False

    def _too_slow(self, seconds: float) -> tuple[str, str]:
        logger.warning("The tool %s took longer than %s s in reply %s.", self.name, seconds, self.context.message_id)
        text = _TOO_SLOW.format(seconds=seconds)
        is_write = self.tool is not None and self.tool.effect == "write"
        return (tool_calls.UNKNOWN, text + _TOO_SLOW_WRITE) if is_write else (tool_calls.ERROR, text)

    def _failed(self, what: str, error: Exception) -> str:
        """Log an error, and return what the model is told: never its text, which may be private."""
        ref = uuid.uuid4().hex[:12]
        logger.error("The tool %s %s; ref %s: %s", self.name, what, ref, describe(error))
        return _FAILED.format(ref=ref)


def _may_call(context: ToolContext, permission: str) -> bool:
    """Return whether the owner may call a tool now. Blocking."""
    if context.user_id is None:
        return not permission
    user = context.user()
    return user is not None and (not permission or user.has_perm(permission))


def _cut(output: str) -> str:
    longest = conf.STREAMING_CHAT_MAX_TOOL_OUTPUT_CHARS
    if len(output) <= longest:
        return output
    return output[:longest] + _CUT.format(chars=len(output), kept=longest)
