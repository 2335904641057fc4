"""Calls a site's STREAMING_CHAT_CONTEXT for a reply: after its rows are saved, and before its provider is asked.

An asynchronous function runs in the event loop of the run. A synchronous one runs in a thread, which goes on if the reply is
stopped or the time is over: Python cannot end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from streaming_chat.conf import conf
from streaming_chat.providers.context import Context
from streaming_chat.providers.prompt import Prompt
from streaming_chat.site_threads import SiteThreads

# (RunContext, turns) -> Context | None, or an awaitable of that.
ContextFunction: TypeAlias = Callable[..., Any]

_threads = SiteThreads("streaming_chat.context", 8)


async def look_up(function: ContextFunction, prompt: Prompt) -> Context:
    """Return what the site knows about a prompt. Raises what the function raises, TimeoutError, and TypeError."""
    async with asyncio.timeout(conf.STREAMING_CHAT_CONTEXT_TIMEOUT_SECONDS):
        found = await _threads.call(function, prompt.context, prompt.turns)
    if found is not None and not isinstance(found, Context):
        raise TypeError(f"STREAMING_CHAT_CONTEXT must return a Context or None, got {type(found).__name__}")
    return found or Context()
