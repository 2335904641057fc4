"""How a model of the messages API is told how much to think, and to return its thinking.

From Claude 4.6 on, thinking adapts itself and `output_config.effort` guides it. Before, and at most compatible servers, it
has a budget of tokens. Some models cannot do without. If a later model differs, a site's `parameters` replace all this.

Sources: https://platform.claude.com/docs/en/build-with-claude/thinking, /thinking-tool-workflows and /effort, and the
migration guides of Opus, Sonnet and Haiku 5.5 below https://platform.claude.com/docs/en/models, as of November 2026.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .prompt import Prompt

# `claude-opus-4-6`, `anthropic.claude-sonnet-4-5-20250929-v1:0`, `anthropic/claude-haiku-5.5`; not `claude-3-7-sonnet`.
_NAME = re.compile(r"claude-([a-z]+)-(?:(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)|preview)")
_FIRST_WITH_SCHEMAS = (4, 5)
_FIRST_ADAPTIVE = (4, 6)
_FIRST_WITH_XHIGH = (4, 7)
# From here on, a model thinks unless it is told not to.
_FIRST_BY_DEFAULT = (5, 0)
# How to tell it, where that is possible at all.
_OFF = {
    ("opus", (5, 0)): "disabled",
    ("sonnet", (5, 0)): "disabled",
    ("haiku", (5, 5)): "disabled",
    ("sonnet", (5, 5)): "between_tools",
}
# The API's smallest budget, in tokens, and the share of a reply's tokens for each effort.
_LEAST_BUDGET = 1_024
_SHARES = {"minimal": 0.0, "low": 0.125, "medium": 0.25, "high": 0.5, "xhigh": 0.75, "max": 0.75}


class _Claude(NamedTuple):
    """family: "opus", "sonnet", … version: two numbers."""

    family: str
    version: tuple[int, int]


def thinking_parameters(prompt: Prompt) -> dict[str, Any]:
    """Return `thinking` and `output_config`, or what is needed of them."""
    options = prompt.options
    if options.effort is None and not options.show_reasoning:
        return {}
    claude = _claude_of(prompt.model)
    if claude is None or claude.version < _FIRST_ADAPTIVE:
        return _budgeted(prompt)
    return _off(claude) if options.effort == "none" else _adaptive(claude, options.effort, shown=options.show_reasoning)


def knows_schemas(model: str) -> bool:
    """Return whether a model can be held to a JSON schema: https://platform.claude.com/docs/en/build-with-claude/structured-outputs"""
    claude = _claude_of(model)
    return claude is not None and claude.version >= _FIRST_WITH_SCHEMAS


def _claude_of(model: str) -> _Claude | None:
    """Return the family and version of a Claude that is named in the newer way; None for any other name."""
    found = _NAME.search(model)
    if found is None:
        return None
    family, major, minor = found.groups()
    return _Claude(family, (int(major), int(minor or 0)) if major else _FIRST_BY_DEFAULT)


def _adaptive(claude: _Claude, effort: str | None, *, shown: bool) -> dict[str, Any]:
    thinking = {"type": "adaptive"}
    if shown:
        # From 4.7 on, the default is an empty text.
        thinking["display"] = "summarized"
    if effort is None:
        return {"thinking": thinking}
    if effort == "minimal":
        effort = "low"
    elif effort == "xhigh" and claude.version < _FIRST_WITH_XHIGH:
        effort = "high"
    return {"thinking": thinking, "output_config": {"effort": effort}}


def _off(claude: _Claude) -> dict[str, Any]:
    """Return how a model is told not to think; one that always thinks, or is not known, to think little."""
    if claude.version < _FIRST_BY_DEFAULT:
        return {}
    kind = _OFF.get(claude)
    return {"thinking": {"type": kind}} if kind else {"output_config": {"effort": "low"}}


def _budgeted(prompt: Prompt) -> dict[str, Any]:
    effort, longest = prompt.options.effort, prompt.options.max_output_tokens
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    budget = max(_LEAST_BUDGET, int(longest * _SHARES[effort or "medium"]))
    # The budget must be smaller than the reply.
    if budget >= longest or _cannot_begin_with_thoughts(prompt):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _cannot_begin_with_thoughts(prompt: Prompt) -> bool:
    """Return whether the API refuses a budget: for a call that must come, and in an assistant's turn that is continued.

    The latter goes on after the results of tools, and would have to begin with the thoughts that came before the calls,
    which are there only while the tools of the site run.
    """
    before, last = ([None, None, *prompt.turns])[-2:]
    is_after_tools = last is not None and bool(last.results) and not (before and before.state)
    is_continued = is_after_tools or (last is not None and last.role == "assistant")
    return is_continued or (prompt.tools is not None and prompt.tools.must_be_called)
