"""What the three APIs refuse of tools, of their calls and of the results. Each function returns the problem, "" for none.

Sources: https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls and
https://developers.openai.com/api/docs/guides/function-calling
"""

from __future__ import annotations

import re
from typing import Any

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")


def problem_with_messages(body: dict[str, Any]) -> str:
    """Of chat completions."""
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return f"these tool_call_ids did not have response messages: {waiting}"
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting:
        return f"these tool_call_ids did not have response messages: {waiting}"
    return _problem_with_choice(body, [tool["function"]["name"] for tool in body.get("tools", ())])


def problem_with_items(body: dict[str, Any]) -> str:
    """Of the Responses API."""
    items = body["input"]
    calls, outputs = (
        [item["call_id"] for item in items if item.get("type") == kind]
        for kind in ("function_call", "function_call_output")
    )
    if missing := set(calls) ^ set(outputs):
        return f"No tool output found for function call, or no call for the output: {missing}"
    for tool in body.get("tools", ()):
        if missing := {"type", "name", "parameters", "strict"} - tool.keys():
            return f"Missing required parameter: tools[0].{missing}"
    return _problem_with_choice(body, [tool["name"] for tool in body.get("tools", ())])


def _problem_with_choice(body: dict[str, Any], names: list[str]) -> str:
    if ("tool_choice" in body or "parallel_tool_calls" in body) and not names:
        return "tool_choice and parallel_tool_calls are only allowed when tools are specified"
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("function", choice)["name"] not in names:
        return "Tool choice not found in tools"
    return ""


def problem_with_blocks(body: dict[str, Any]) -> str:
    """Of Anthropic's messages."""
    called: list[str] = []
    ids: list[str] = []
    has_calls = False
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(called):
            return "`tool_use` ids were found without `tool_result` blocks immediately after, or the reverse"
        if [block["type"] for block in blocks[: len(answered)]] != ["tool_result"] * len(answered):
            return "tool_result blocks must come first"
        calls = [block for block in blocks if block["type"] == "tool_use"]
        ids += [call["id"] for call in calls]
        if len(ids) != len(set(ids)):
            return "`tool_use` ids must be unique"
        if any(not isinstance(call["input"], dict) or not _WORD.fullmatch(call["id"]) for call in calls):
            return "tool_use.input: Input should be a valid dictionary"
        called, has_calls = [call["id"] for call in calls], has_calls or bool(calls)
    if called:
        return "`tool_use` ids were found without `tool_result` blocks"
    return _problem_with_anthropic_tools(body, has_calls=has_calls)


def _problem_with_anthropic_tools(body: dict[str, Any], *, has_calls: bool) -> str:
    tools, choice = body.get("tools", ()), body.get("tool_choice", {"type": "auto"})
    if not tools and (has_calls or "tool_choice" in body):
        return "Requests which include `tool_use` or `tool_result` blocks must define tools"
    if any(tool.keys() - {"name", "description", "input_schema", "strict"} for tool in tools):
        return "tools: Extra inputs are not permitted"
    if any(tool["input_schema"]["type"] != "object" for tool in tools):
        return "tools.0.input_schema.type: Input should be 'object'"
    if choice["type"] == "none" and choice.keys() != {"type"}:
        return "tool_choice.none: Extra inputs are not permitted"
    if body.get("thinking", {}).get("type") == "enabled":
        return _problem_with_budget(body, choice)
    return ""


def _problem_with_budget(body: dict[str, Any], choice: dict[str, Any]) -> str:
    if choice["type"] in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    last = body["messages"][-1]["content"]
    if isinstance(last, list) and last[0]["type"] == "tool_result":
        return "Expected `thinking` or `redacted_thinking`, but found `tool_use`."
    return ""
