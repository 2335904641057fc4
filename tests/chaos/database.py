"""What the database holds of the replies in the end, read by plain SQL: the app's own code is not asked."""

from __future__ import annotations

import json
from typing import Any

from .cluster import Cluster
from .history import History

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
_LEFT = {
    "messages being written": "SELECT id::text AS id FROM streaming_chat_message WHERE status = 'streaming'",
    "live replies": "SELECT message_id::text AS id FROM streaming_chat_livereply",
    "reply events": "SELECT DISTINCT message_id::text AS id FROM streaming_chat_replyevent",
}


async def record_replies(cluster: Cluster, history: History, look: int) -> None:
    """Write a `row` for each reply."""
    for found in await cluster.query(_REPLIES):
        history.write("row", look=look, **_row(found))


async def count_left(cluster: Cluster) -> int:
    """Return how many rows are live."""
    return sum([len(await cluster.query(sql)) for sql in _LEFT.values()])


async def record_left(cluster: Cluster, history: History) -> None:
    """Write what is live, one `left` for each table."""
    for table, sql in _LEFT.items():
        found = await cluster.query(sql)
        history.write("left", table=table, count=len(found), some=[row["id"] for row in found[:5]])


def _row(found: dict[str, Any]) -> dict[str, Any]:
    parts = found.pop("parts")
    parts = json.loads(parts) if isinstance(parts, str) else parts
    received = "".join(part["text"] for part in parts if part["kind"] == "text")
    return {**found, "received": received}
