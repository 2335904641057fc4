"""Marks how much of a prompt Anthropic's API keeps for the next one, which then costs a tenth.

The API keeps a prompt up to a mark, and searches what it has kept from there backwards, for at most 20 blocks. So a mark on
the last message finds the prompt of the last turn, and one on the system prompt finds that of other conversations. The
`cache_control` of a whole request would mark only the last block, which the next prompt may not have.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from typing import Any

from .prompt import Prompt

# Five minutes are the default.
_MARKS = {"5m": {"type": "ephemeral"}, "1h": {"type": "ephemeral", "ttl": "1h"}}


def mark(body: dict[str, Any], duration: str, lasting: int) -> None:
    """Mark the system prompt and the last message of a request's body that the next prompt has, too.

    duration: "5m" or "1h". lasting: how many of the messages the next prompt begins with.
    """
    if "system" in body:
        body["system"] = _blocks(body["system"])
        body["system"][-1]["cache_control"] = _MARKS[duration]
    for message in body["messages"]:
        # As blocks with a mark and without, so that nothing but the mark moves between two prompts.
        message["content"] = _blocks(message["content"])
    if lasting:
        body["messages"][lasting - 1]["content"][-1]["cache_control"] = _MARKS[duration]


def lasting_turns(prompt: Prompt) -> int:
    """Return how many turns the next prompt begins with; 0 if there will be none."""
    if prompt.context.conversation_id is None or not prompt.turns:
        return 0
    if prompt.lasting_turns is not None:
        return prompt.lasting_turns
    # The whole reply will stand in the place of a turn that is to be continued.
    return len(prompt.turns) - (prompt.turns[-1].role == "assistant")


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
