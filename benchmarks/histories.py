"""Makes conversations of so many messages for the first of the benchmark's users; prints their ids as a JSON list.

python -m benchmarks.histories 30 50
"""

import json
import os
import sys
from typing import Any

import django

_TEXT = "What was said before is part of what the provider is asked. " * 4


def make(count: int, messages: int) -> list[str]:
    """Return the ids of so many new conversations, each of so many messages, of a user and a model in turn."""
    from django.contrib.auth import get_user_model

    from streaming_chat.accounts.owners import user_key
    from streaming_chat.models import Conversation, Message

    owner = get_user_model().objects.order_by("pk")[0]
    fields = {"owner": owner, "owner_key": user_key(owner), "title": "Long", "message_count": messages}
    conversations = Conversation.objects.bulk_create(Conversation(**fields) for _number in range(count))
    for conversation in conversations:
        rows = _messages(conversation, messages)
        Message.objects.bulk_create(rows)
        Conversation.objects.filter(pk=conversation.pk).update(head=rows[-1], last_status="completed")
    return [str(conversation.pk) for conversation in conversations]


def _messages(conversation: Any, count: int) -> list[Any]:
    from streaming_chat.models import Message

    rows: list[Message] = []
    for number in range(count):
        reply = {"role": "assistant", "status": "completed", "end_reason": "stop", "model": "openai:gpt-4o"}
        rows.append(
            Message(
                conversation=conversation,
                parent=rows[-1] if rows else None,
                text=_TEXT,
                parts=[{"kind": "text", "text": _TEXT}],
                position=1 + len(_TEXT),
                **(reply if number % 2 else {"role": "user"}),
            )
        )
    return rows


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    sys.stdout.write(json.dumps(make(int(sys.argv[1]), int(sys.argv[2]))))
