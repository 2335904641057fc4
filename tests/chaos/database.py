"""What the database holds of the replies in the end, read by plain SQL: the app's own code is not asked."""

from __future__ import annotations

import json
from typing import Any

from .cluster import Cluster
from .history import History
from .ledger import entries

_REPLIES = """
SELECT reply.id::text AS reply, split_part(reply.model, ':', 2) AS key, owner.username AS owner,
       conversation.id::text AS conversation, conversation.deleted_at IS NOT NULL AS deleted,
       reply.status, reply.end_reason, reply.error_code, reply.position, reply.cut_position,
       reply.text, reply.parts, reply.created_at::text, reply.ended_at::text
FROM streaming_chat_message reply
JOIN streaming_chat_conversation conversation ON conversation.id = reply.conversation_id
JOIN auth_user owner ON owner.id = conversation.owner_id
WHERE reply.role = 'assistant'
ORDER BY reply.created_at, reply.id
"""
_TOOLS = """
SELECT message_id::text AS reply, call_id, arguments, status, runs FROM streaming_chat_toolcall ORDER BY id
"""
_LEFT = {
    "messages being written": (
        "SELECT id::text AS id FROM streaming_chat_message WHERE status IN ('streaming', 'waiting')"
    ),
    "live replies": "SELECT message_id::text AS id FROM streaming_chat_livereply",
    "reply events": "SELECT DISTINCT message_id::text AS id FROM streaming_chat_replyevent",
}


async def record_replies(cluster: Cluster, history: History, look: int) -> None:
    """Write a `row` for each reply."""
    for found in await cluster.query(_REPLIES):
        history.write("row", look=look, **_row(found))


async def record_tools(cluster: Cluster, history: History) -> None:
    """Write a `tool` for each call of a tool, and an `execution` for each line of their ledger."""
    for found in await cluster.query(_TOOLS):
        history.write("tool", call=_named(found.pop("arguments")), **found)
    for entry in entries(cluster.ledger):
        history.write("execution", **entry._asdict())


async def count_left(cluster: Cluster) -> int:
    """Return how many rows are live."""
    return sum([len(await cluster.query(sql)) for sql in _LEFT.values()])


async def record_left(cluster: Cluster, history: History) -> None:
    """Write what is live, one `left` for each table."""
    for table, sql in _LEFT.items():
        found = await cluster.query(sql)
        history.write("left", table=table, count=len(found), some=[row["id"] for row in found[:5]])


def _named(arguments: str) -> str:
    """Return the name of a call; "" for arguments that were cut off."""
    try:
        return json.loads(arguments)["call"]
    except ValueError:
        return ""


def _row(found: dict[str, Any]) -> dict[str, Any]:
    parts = found.pop("parts")
    parts = json.loads(parts) if isinstance(parts, str) else parts
    received = "".join(part["text"] for part in parts if part["kind"] == "text")
    shape = [[part["kind"], len(part["text"]) if part["kind"] == "text" else 1] for part in parts]
    ids = {kind: [part["id"] for part in parts if part["kind"] == kind] for kind in ("tool_call", "tool_result")}
    return {**found, "received": received, "shape": shape, "called": ids["tool_call"], "resulted": ids["tool_result"]}
