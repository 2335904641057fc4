"""Makes the tables, users who are signed in, and a long conversation of the user `grown`; prints what came of it in JSON.

It is run with the code of a checkout, which may be older: `python - NAME … < tests/attack/set_up.py`. A name that begins
with "visitor" gets a visitor's session. code: where the app was found.
"""

import json
import sys

import django

django.setup()

from django.apps import apps  # noqa: E402  (Django is set up first)
from django.core.management import call_command  # noqa: E402

from streaming_chat.models import Conversation, Message  # noqa: E402
from tests.factories import make_conversation, make_staff, make_user  # noqa: E402
from tests.servers import _session, _visitor_session  # noqa: E402

# Nearly as many messages as a conversation may have, in turns of two.
TURNS = 2450
HAS_DEPTH = any(field.name == "depth" for field in Message._meta.fields)


def grow(conversation: Conversation) -> None:
    """Add turns as they would be after years."""
    messages: list[Message] = []
    for number in range(TURNS):
        _add(messages, conversation, role="user", text=f"Question {number}?")
        _add(
            messages,
            conversation,
            role="assistant",
            text="Yes.",
            parts=[{"kind": "text", "text": "Yes."}],
            position=5,
            status="completed",
            end_reason="stop",
            provider="openai",
            model="openai:answer",
        )
    Message.objects.bulk_create(messages, batch_size=1000)
    Conversation.objects.filter(pk=conversation.pk).update(head=messages[-1], message_count=len(messages))


def _add(messages: list[Message], conversation: Conversation, **fields: object) -> None:
    depth = {"depth": len(messages)} if HAS_DEPTH else {}
    parent = messages[-1] if messages else None
    messages.append(Message(conversation=conversation, parent=parent, **depth, **fields))


call_command("migrate", verbosity=0)
sessions = {
    name: _visitor_session() if name.startswith("visitor") else _session(make_user(name)) for name in sys.argv[1:]
}
for name in ("staff", "staff2"):
    sessions[name] = _session(make_staff(name, "view_transcript", "view_conversation"))
conversation = make_conversation(make_user("grown"))
grow(conversation)
code = apps.get_app_config("streaming_chat").path
sys.stdout.write(json.dumps({"sessions": sessions, "grown": str(conversation.pk), "code": code}))
