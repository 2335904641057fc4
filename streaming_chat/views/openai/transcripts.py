"""The messages of a chat completion's request, as the turns of a conversation.

Each role may have the keys that the SDKs give their own answers; those without a meaning here are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from streaming_chat.conf import conf
from streaming_chat.protocol.events import TEXT, TOOL_CALL, TOOL_RESULT
from streaming_chat.providers.base import Turn
from streaming_chat.providers.parsing import MAX_ID, MAX_NAME
from streaming_chat.views.api import parsing

_SYSTEM = ("system", "developer")
_KEYS: dict[str, tuple[str, ...]] = {
    "system": ("content", "name"),
    "developer": ("content", "name"),
    "user": ("content", "name"),
    "assistant": ("content", "name", "refusal", "annotations", "reasoning_content", "tool_calls"),
    "tool": ("content", "tool_call_id"),
}


class Transcript(NamedTuple):
    """What a client has sent. system: "" for none. The last turn is the user's, or the result of a tool."""

    system: str
    turns: list[Turn]


def _schema() -> dict[str, Any]:
    """Return the messages as JSON Schema, but for their order."""
    part = {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}
    parts = {"type": "array", "items": {**part, "required": ["type", "text"]}}
    keys = {"tool_call_id": {"type": "string"}, "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}}}
    text = {"anyOf": [{"type": "string", "minLength": 1, "pattern": r"\S"}, {**parts, "minItems": 1}]}
    blank = {"anyOf": [{"type": ["string", "null"]}, parts]}
    messages = []
    for role, names in _KEYS.items():
        properties = {name: keys.get(name, {}) for name in names if name != "content"}
        is_text = role not in ("assistant", "tool")
        messages.append(
            {
                "type": "object",
                "properties": {"role": {"const": role}, **properties, "content": text if is_text else blank},
                "required": ["role", *(["content"] if is_text else []), *(["tool_call_id"] if role == "tool" else [])],
                # What the SDKs write into their own messages.
                "additionalProperties": {"type": "null"},
            }
        )
    last = {"properties": {"role": {"enum": ["user", "tool"]}}}
    return {"type": "array", "items": {"anyOf": messages}, "minItems": 1, "contains": last}


@parsing.check(**_schema())
def transcript(value: Any) -> Transcript:
    """Check the messages of a request. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("Must be a list of messages.")
    messages = [_message(item) for item in value]
    first = next((number for number, (role, _) in enumerate(messages) if role not in _SYSTEM), len(messages))
    if any(role in _SYSTEM for role, _ in messages[first:]):
        raise ValueError("Messages of the roles system and developer must come first.")
    if messages[-1][0] not in ("user", "tool"):
        raise ValueError("The last message must have the role user or tool.")
    _require_calls([turn for _, turn in messages])
    return Transcript("\n\n".join(turn.text for _, turn in messages[:first]), [turn for _, turn in messages[first:]])


def _message(item: Any) -> tuple[str, Turn]:
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(role, str) or role not in _KEYS:
        raise ValueError(f"The role must be one of: {', '.join(_KEYS)}.")
    _refuse_unknown(item, ("role", *_KEYS[role]), f"A message of the role {role}")
    return role, _turn(role, item)


def _turn(role: str, item: dict[str, Any]) -> Turn:
    if role == "assistant":
        text = _text(item.get("content"), conf.STREAMING_CHAT_MAX_REPLY_CHARS, shortest=0)
        calls = [_call(call) for call in item.get("tool_calls") or []]
        return Turn(role, [*([{"kind": TEXT, "text": text}] if text else []), *calls])
    shortest = 0 if role == "tool" else 1
    text = _text(item.get("content"), conf.STREAMING_CHAT_MAX_MESSAGE_CHARS, shortest=shortest)
    if role == "tool":
        return Turn("user", [{"kind": TOOL_RESULT, "id": _id(item.get("tool_call_id")), "text": text}])
    return Turn("user", text)


def _require_calls(turns: Sequence[Turn]) -> None:
    """Raise ValueError for a result of a tool without a call in the message of the assistant before it."""
    waiting: set[str] = set()
    for turn in turns:
        for result in turn.results:
            if result["id"] not in waiting:
                raise ValueError("A message of the role tool must answer one of the tool_calls before it, each once.")
            waiting.remove(result["id"])
        if not turn.results:
            waiting = {call["id"] for call in turn.calls}


def _text(content: Any, longest: int, *, shortest: int) -> str:
    """Return the text of a message, which may be in parts."""
    if isinstance(content, list):
        content = "\n".join(_text_part(part) for part in content)
    return parsing.text(longest, shortest=shortest)("" if content is None else content)


def _text_part(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text" or not isinstance(part.get("text"), str):
        raise ValueError("The parts of a message must be of the type text.")
    return part["text"]


def _call(call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        raise ValueError("Each of tool_calls must be of the type function.")
    name = parsing.text(MAX_NAME, shortest=1)(function.get("name"))
    arguments = parsing.text(conf.STREAMING_CHAT_MAX_REPLY_CHARS)(function.get("arguments"))
    return {"kind": TOOL_CALL, "id": _id(call.get("id")), "name": name, "arguments": arguments, "complete": True}


def _id(value: Any) -> str:
    return parsing.text(MAX_ID, shortest=1)(value)


def _refuse_unknown(item: dict[str, Any], known: Collection[str], what: str) -> None:
    """Raise ValueError for a key that is not known, unless it is null: the SDKs write some of their keys so."""
    for name, value in item.items():
        if name not in known and value is not None:
            raise ValueError(f"{what} may not have {name[:64]}.")
