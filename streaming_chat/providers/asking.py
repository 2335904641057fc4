"""Asks a model for one whole answer, which nobody reads while it is written. No run, no row, no quota.

The provider streams here, too. 500 deltas cost 24 ms of CPU and one JSON body less than 1 ms, but only a stream shows within
`stall_timeout` that nothing comes any more, and survives a proxy that closes silent connections (benchmarks/README.md).
"""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

from streaming_chat.conf import conf
from streaming_chat.exceptions import APIError, ProviderError
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.storable_text import storable

from . import get_provider, split_model
from .base import FINISH_SECONDS, Prompt, Provider, ProviderStream, Turn, Usage, longest_reply
from .model_options import options_of

# How often a call is made again if it may succeed then, and the longest pause before, in seconds.
RETRIES = 2
LONGEST_PAUSE = 10.0


class Answer(NamedTuple):
    """What a model answered. end_reason: as of a reply. usage: None if the provider did not report it."""

    text: str
    end_reason: str
    usage: Usage | None
    request_id: str


def prompt_of(model: str, text: str, system: str = "") -> tuple[Provider, Prompt]:
    """Return the provider of `alias:model`, and a prompt of one message. Raises APIError 422 for an unknown alias."""
    alias, name = split_model(model)
    if alias not in conf.STREAMING_CHAT_PROVIDERS or not name:
        wanted = "Must be `alias:model`, with an alias of STREAMING_CHAT_PROVIDERS"
        raise APIError(422, "invalid", fields={"model": f"{wanted}; got {model!r}."})
    provider = get_provider(alias)
    options = options_of(model, provider.max_output_tokens)
    return provider, Prompt(model=name, system=system, turns=(Turn("user", storable(text)),), options=options)


async def ask_model(provider: Provider, prompt: Prompt) -> Answer:
    """Return the answer, after retries. Raises ProviderError, also for an answer without text and tool calls."""
    for attempt in range(RETRIES + 1):
        try:
            return await ask_once(provider, prompt)
        except ProviderError as error:
            pause = pause_after(error, attempt)
            if not error.retryable or attempt == RETRIES or pause > LONGEST_PAUSE:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def pause_after(error: ProviderError, attempt: int) -> float:
    """Return the seconds to wait before a call is made again. attempt: 0 for the first."""
    if error.retry_after is not None:
        return error.retry_after
    return 0.5 * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311  (jitter, not a secret)


async def ask_once(provider: Provider, prompt: Prompt) -> Answer:
    """Return the answer of one call. Raises ProviderError."""
    is_known = prompt.output is None or provider.sends_output(prompt)
    stream = provider.stream(prompt if is_known else prompt.with_instruction())
    received: list[Event] = []
    try:
        async with asyncio.timeout(provider.first_event_timeout) as limit, stream:
            is_whole = await _read(stream, provider.stall_timeout, received, limit)
    except TimeoutError:
        if not stream.finish_reason:
            code = "provider_stall" if received else "provider_timeout"
            raise ProviderError(code, retryable=True, request_id=stream.request_id) from None
        is_whole = True
    return answer_of(received, stream, stream.end_reason if is_whole else "length_cap")


async def _read(stream: ProviderStream, stall_timeout: float, received: list[Event], limit: asyncio.Timeout) -> bool:
    """Add what the stream has to `received`; return False if that is longer than a reply may be."""
    now = asyncio.get_running_loop().time
    last_moment = now() + conf.STREAMING_CHAT_MAX_REPLY_SECONDS
    weight, longest = 0, longest_reply()
    while (new := await stream.read()) is not None:
        weight += events.weight(new, received[-1].kind if received else "")
        received += new
        if weight > longest:
            return False
        # Heartbeats may come for ever, also before the first event and after the last.
        if received and (new or not stream.finish_reason):
            limit.reschedule(min(last_moment, now() + (FINISH_SECONDS if stream.finish_reason else stall_timeout)))
    return True


def answer_of(received: list[Event], stream: ProviderStream, end_reason: str) -> Answer:
    """Return the answer that these events are. Raises ProviderError if there is none in them."""
    reasoning_tokens = stream.usage.reasoning_tokens if stream.usage else None
    ending = endings.checked(endings.completed(end_reason), received, reasoning_tokens=reasoning_tokens)
    if ending.error_code:
        raise ProviderError(ending.error_code, request_id=stream.request_id)
    return Answer(storable(events.text_of(received)), end_reason, stream.usage, stream.request_id)
