"""The models that are asked if that of a reply cannot be reached, each with a prompt for its own provider."""

from __future__ import annotations

from dataclasses import replace

from streaming_chat.engine.run import Target
from streaming_chat.providers import get_provider, split_model
from streaming_chat.providers.base import Prompt
from streaming_chat.providers.model_options import options_of

from . import prompts
from .continuation import Continuation
from .send_request import SendRequest


def fallbacks_of(prompt: Prompt, continuation: Continuation | None, send_request: SendRequest) -> tuple[Target, ...]:
    """Return the fallbacks of a prompt's model, in their order. Their own fallbacks are not asked.

    One that cannot be given the client's tools is left out.
    """
    targets = (_target(name, prompt, continuation, send_request) for name in prompt.options.fallback)
    return tuple(target for target in targets if _takes_tools_of(target))


def _takes_tools_of(target: Target) -> bool:
    model, tools = target.prompt.model, target.prompt.tools
    return tools is None or not target.provider.problem_with_tools(model, tools)


def _target(name: str, prompt: Prompt, continuation: Continuation | None, send_request: SendRequest) -> Target:
    alias, model = split_model(name)
    provider = get_provider(alias)
    options = send_request.applied_to(options_of(name, provider.max_output_tokens))
    if prompt.options.effort in options.efforts:
        options = replace(options, effort=prompt.options.effort)
    turns, quote, max_chars = prompt.turns, "", provider.max_prompt_chars
    if continuation:
        turns = turns[: -len(continuation.turns)]
        # Its provider may have another way to continue a turn.
        continuation = Continuation.of(continuation.message, is_prefilled=provider.prefills(model))
        quote, max_chars = continuation.quote, max_chars - sum(turn.chars for turn in continuation.turns)
    kept, _omitted = prompts.fit(turns, max_chars)
    kept += continuation.turns if continuation else ()
    return Target(provider, prompt.replace(model=model, options=options, turns=tuple(kept)), quote)
