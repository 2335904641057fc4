"""One tool: what a model is told of it, and what happens when the model calls it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from streaming_chat.conf import conf
from streaming_chat.site_threads import SiteThreads

from .context import ToolContext

if TYPE_CHECKING:
    from pydantic import BaseModel

Effect: TypeAlias = Literal["read", "write"]
Place: TypeAlias = Literal["server", "client"]
# Or a function (context, arguments) -> bool, which may be asynchronous.
Approval: TypeAlias = bool | Callable[..., Any]

# Each may hold a connection of the database.
THREADS = SiteThreads("streaming_chat.tools", 8)
# That a model is told of. One wrong list may have thousands.
_MAX_PROBLEMS = 10


class ToolError(Exception):
    """What a tool raises to tell the model why a call failed. Of any other error, the model learns no text.

    Its text is written for the model: what is wrong, and what it can do about it.
    """


class InvalidArguments(ToolError, ValueError):
    """Arguments that do not fit the tool. Its text says what is wrong in which field."""


def invalid_arguments(name: str, problems: Sequence[str]) -> InvalidArguments:
    """Return the error for the arguments of a call. problems: each with the field and what is wrong with it."""
    lines = [f"- {problem}" for problem in problems[:_MAX_PROBLEMS]]
    if more := len(problems) - len(lines):
        lines.append(f"- and {more} more problems")
    return InvalidArguments("\n".join([f"The arguments of {name} are not valid, so it did not run:", *lines]))


@dataclass(frozen=True, kw_only=True, repr=False)
class Tool:
    """A tool, as a model and the engine see it. Subclasses know how it is called.

    name: A-Z a-z 0-9 _ -, up to 64 of them. description: for the model. parameters: the JSON schema of an object. effect:
    "write" if a call changes something. permission: `app_label.codename` that the owner must have, "" for none. approval:
    whether a person must allow a call before it runs, or a function (context, arguments) that says so. timeout: seconds, or
    None for STREAMING_CHAT_TOOL_SECONDS. idempotent: a second call with the same key does nothing more, so a call may be
    repeated if its worker has died. runs: "server", or "client" if the client runs it and sends the result. editable: a
    person who allows a call may change its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect = "read"
    permission: str = ""
    approval: Approval = False
    timeout: float | None = None
    idempotent: bool = False
    runs: Place = "server"
    editable: bool = False

    # What a person approves of. The timeout is not part of it.
    _DIGESTED: ClassVar = (
        *("name", "description", "parameters", "effect", "permission", "approval", "idempotent", "runs", "editable"),
    )

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what a person approves of, in hexadecimal digits: it changes if the tool does."""
        values = {name: getattr(self, name) for name in self._DIGESTED}
        text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=_name_of)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def seconds(self) -> float:
        """The longest time that a call may take."""
        return conf.STREAMING_CHAT_TOOL_SECONDS if self.timeout is None else self.timeout

    def parse(self, arguments: str) -> BaseModel:
        """Return the arguments of a call, which are JSON text, as an object with an attribute for each.

        Raises InvalidArguments.
        """
        raise NotImplementedError

    async def needs_approval(self, context: ToolContext, arguments: BaseModel) -> bool:
        """Return whether a person must allow this call. Raises what the site's function raises."""
        if isinstance(self.approval, bool):
            return self.approval
        return bool(await THREADS.call(self.approval, context, arguments))

    async def call(self, context: ToolContext, arguments: BaseModel, *, key: str) -> str:
        """Run the tool and return its result as text. Raises what it raises. The caller limits the time.

        key: the same for every attempt of this call; passed on only if the tool is idempotent.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def _name_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
