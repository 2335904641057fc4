"""What a provider's word for the end of a reply means: one table for all APIs.

Words are compared without regard to case, hyphens and an enum's prefix (`FinishReason.MAX_TOKENS`). An unknown word means
that the model has finished.

Sources: the API references of OpenAI, Anthropic, Gemini, Bedrock, Cohere, Mistral, DeepSeek, Zhipu, OpenRouter and xAI, and
the source code of vLLM, SGLang and Text Generation Inference.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from streaming_chat.logs import logger

from .parsing import clean

MAX_FINISH_REASON = 64
# How many unknown words a process logs.
_MOST_REPORTED = 256
_reported: set[str] = set()


class Meaning(NamedTuple):
    """What a word means. end_reason: "" for a failure; then error_code says which. retryable: as in ProviderError."""

    end_reason: str
    error_code: str = ""
    retryable: bool = False


_STOP = """
    stop stop_sequence stop_sequence_reached stop_criteria_met end_turn pause_turn compaction eos eos_token endoftext
    complete completed finish finished done normal success
"""
_LENGTH = """
    length max_tokens max_length max_output_tokens max_output max_completion_tokens max_len max_context model_length
    token_limit model_context_window_exceeded context_length_exceeded limit incomplete
"""
_TOOL_CALLS = "tool_calls tool_call tool_use function_call function_calls"
_FILTER = """
    content_filter content_filtered refusal safety recitation blocklist prohibited_content spii language model_armor
    image_safety image_prohibited_content image_recitation sensitive error_toxic guardrail_intervened guardrails guardrail
    moderation blocked content_policy content_policy_violation data_inspection_failed policy_violation
"""
_ERROR = """
    error failed failure abort aborted cancel canceled cancelled user_cancel other internal_error server_error
    malformed_function_call malformed_response malformed_tool_use malformed_model_output unexpected_tool_call
    too_many_tool_calls missing_thought_signature function_call_failure function_call_error unclosed_stream image_other
    no_image
"""
_UNAVAILABLE = "network_error insufficient_system_resource resource_exhausted overloaded unavailable load_shed"
_MEANINGS = {
    word: meaning
    for words, meaning in (
        (_STOP, Meaning("stop")),
        (_LENGTH, Meaning("length")),
        (_TOOL_CALLS, Meaning("tool_calls")),
        (_FILTER, Meaning("content_filter")),
        (_ERROR, Meaning("", "provider_error", retryable=True)),
        (_UNAVAILABLE, Meaning("", "provider_unavailable", retryable=True)),
        ("timeout timed_out time_limit deadline_exceeded", Meaning("", "provider_timeout", retryable=True)),
        ("rate_limit rate_limited rate_limit_exceeded", Meaning("", "provider_rate_limited", retryable=True)),
        ("error_limit", Meaning("", "context_too_long")),
    )
    for word in words.split()
}
# What some servers send with every chunk until the last.
_NOT_FINISHED = frozenset({"", "null", "none", "not_finished", "unspecified", "in_progress"})
_CAPITAL_INSIDE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def finish_word(value: Any) -> str:
    """Return the provider's word in a `finish_reason` field of any shape, "" if the reply is not finished."""
    if isinstance(value, dict):
        value = value.get("type")
    if value is None or isinstance(value, bool):
        return ""
    word = clean(str(value), MAX_FINISH_REASON)
    return "" if _normal(word) in _NOT_FINISHED else word


def meaning_of(word: str) -> Meaning:
    """Return what a word means; an unknown one is logged once in a process."""
    return _MEANINGS.get(_normal(word)) or _unknown(word.lower())


def is_known(word: str) -> bool:
    """Return whether the table has this word."""
    return _normal(word) in _MEANINGS


def _normal(word: str) -> str:
    word = _CAPITAL_INSIDE.sub("_", word.rpartition(".")[2].strip()).lower().replace("-", "_").replace(" ", "_")
    return word.removeprefix("finish_reason_").removeprefix("reason_")


def _unknown(word: str) -> Meaning:
    if word not in _reported and len(_reported) < _MOST_REPORTED:
        _reported.add(word)
        logger.warning("The finish reason %r is not known, and is taken for `stop`.", word)
    return _MEANINGS["stop"]
