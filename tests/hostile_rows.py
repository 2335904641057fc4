"""Rows in which every column that a person, a provider or the site's code can fill holds one text."""

import json
import secrets
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from streaming_chat.models import (
    AccessRecord,
    AccessToken,
    Conversation,
    Feedback,
    Message,
    Review,
    ReviewNotes,
    ShareLink,
    ToolList,
    Verdict,
)

from .factories import make_call, make_conversation, make_message, make_reply, make_user


@dataclass(frozen=True)
class Rows:
    """What was made with a text. owner, judge: users called so. failed: the reply's sibling. redacted: the last message."""

    text: str
    owner: Any
    judge: Any
    conversation: Conversation
    reply: Message
    failed: Message
    redacted: Message
    visitors: Conversation


def make_rows(text: str, number: int = 0) -> Rows:
    """Return rows that hold a text wherever a column can. number: tells apart the names of those whose texts are alike."""
    owner, judge = (make_user(f"{text[:130]} {who} {number}", email=text[:254]) for who in ("owner", "judge"))
    conversation = make_conversation(
        owner,
        title=text[:200],
        system_prompt=text,
        metadata={text: text, "nested": {text: [text]}},
        model=text,
        review_state="in_review" if number % 2 else "done",
        needs_attention=True,
    )
    asked = make_message(conversation, text)
    said = {
        "parent": asked,
        "provider": text[:64],
        "model": text,
        "request_id": text,
        "ref": text[:32],
        "finish_reason": text[:64],
        "first_event_ms": 10,
        "duration_ms": 20,
    }
    failed = make_reply(conversation, "", status="failed", error_code=text[:64], **said)
    reply = make_reply(conversation, parts=_parts(text), status="interrupted", end_reason=text[:32], **said)
    make_call(
        reply,
        text[:255],
        call_id=text[:255],
        arguments=text,
        output=text,
        status=text[:16],
        answer={"approved": True, "arguments": text, "reason": text},
        by=judge,
        answered_at=Now(),
    )
    redacted = make_message(conversation, "", redacted_at=Now(), redacted_by=text)
    visitors = Conversation.objects.create(owner_key=f"v:{text[:150]} {number}", title=text[:200], model=text)
    _judge(conversation, reply, judge, text)
    AccessRecord.objects.create(
        kind="open", by_name=text, conversation=conversation.pk, message=reply.pk, reason=text[:255]
    )
    for kind in ("search", "export"):
        AccessRecord.objects.create(kind=kind, by_name=text, owner_key=visitors.owner_key, terms=text)
    AccessToken.objects.create(owner=owner, name=text[:100], prefix=secrets.token_hex(4))
    ShareLink.objects.create(conversation=conversation, message=reply, token_digest=secrets.token_hex(32))
    tool = {"name": text, "description": text, "parameters": {"description": text}, "read_only": True}
    ToolList.objects.create(server=text[:500], digest=secrets.token_hex(32), definitions=json.dumps([tool]))
    return Rows(text, owner, judge, conversation, reply, failed, redacted, visitors)


def _parts(text: str) -> list[dict[str, Any]]:
    return [
        {"kind": "reasoning", "text": text},
        {"kind": "text", "text": text},
        {"kind": "tool_call", "id": text, "name": text, "arguments": text, "complete": True},
        {"kind": "tool_result", "id": text, "status": text, "output": text, "ms": 1},
        # Of a newer version, or of the site's own.
        {"kind": text, "id": text, "result": text},
    ]


def _judge(conversation: Conversation, reply: Message, judge: Any, text: str) -> None:
    key = f"v:{text[:158]}"
    Feedback.objects.create(message=reply, value=-1, comment=text, by=judge, owner_key=key)
    for message in (None, reply):
        said = {"value": "bad", "labels": [text], "correction": text if message else ""}
        Verdict.objects.create(conversation=conversation, message=message, by=judge, **said)
    ReviewNotes.objects.create(conversation=conversation, by=judge, text=text)
    Review.objects.create(
        conversation=conversation,
        reviewer=judge,
        taken_at=Now(),
        done_by=judge,
        done_at=Now(),
        notes=text,
        version=1,
        changed_by=judge,
    )
