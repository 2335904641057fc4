"""Every place where a text may be left: all tables, the database's file, Redis, the journal. For tests that take one away.

`planted` puts a canary wherever a conversation can have one; `places` says where it is found.
"""

from io import StringIO
from pathlib import Path
from typing import Any

import redis
from django.core.management import call_command
from django.db import connection

from streaming_chat.conf import conf
from streaming_chat.engine.completion import Completion
from streaming_chat.engine.ending_journal import Record, journal
from streaming_chat.models import (
    Conversation,
    Feedback,
    Message,
    ProviderState,
    ReplyEvent,
    Review,
    ReviewNotes,
    Verdict,
)
from streaming_chat.protocol.events import Event

from .factories import make_call, make_conversation, make_message, make_reply, make_user
from .valkey import Valkey

# One word, as the search index has it.
CANARY = "rosebud7f3a91"
# What an index of words has of it, which leaves out how the word before began.
_END = 6


def planted(**fields: Any) -> tuple[Conversation, Message]:
    """Return a conversation with the canary in all of its texts, and its reply; events and journal have some of it."""
    zero_what_is_deleted()
    owner = make_user("ana")
    # As a client may name it under a wildcard.
    model = fields.pop("model", f"demo:{CANARY}")
    conversation = make_conversation(
        owner,
        model=model,
        title=f"{CANARY} in Lisbon",
        system_prompt=fields.pop("system_prompt", CANARY),
        metadata=fields.pop("metadata", {"page": CANARY}),
    )
    make_message(conversation, f"{CANARY} in Lisbon? {'Tell me. ' * 500}", send_key="k1", body_digest="d1")
    parts = [
        {"kind": "reasoning", "text": f"Thinking of {CANARY}. " * 50},
        {"kind": "tool_call", "id": "1", "name": "look", "arguments": f'{{"what": "{CANARY}"}}', "complete": True},
        {"kind": "tool_result", "id": "1", "status": "ok", "output": f"Found {CANARY}", "ms": 5},
        {"kind": "text", "text": f"Yes, {CANARY}. " * 300},
        {"kind": "text", "text": CANARY},
    ]
    reply = make_reply(
        conversation, parts=parts, status="stopped", end_reason="user", cut_position=2_000, model=model, **fields
    )
    Feedback.objects.create(
        message=reply, value=-1, comment=f"Not {CANARY}", by=owner, owner_key=conversation.owner_key
    )
    Review.objects.create(conversation=conversation, notes=CANARY, version=1)
    ReviewNotes.objects.create(conversation=conversation, by=owner, text=f"Asked for {CANARY}")
    Verdict.objects.create(conversation=conversation, message=reply, value="bad", correction=f"It was {CANARY}")
    # As a crash between two versions of the app might leave some.
    ReplyEvent.objects.create(message=reply, position=1, kind="text", payload=CANARY)
    said = {"approved": True, "arguments": f'{{"what": "{CANARY}"}}', "reason": f"As {CANARY} wishes"}
    make_call(reply, "look", call_id="1", arguments=said["arguments"], output=f"Found {CANARY}", answer=said)
    # A model may call what is no tool, by any name.
    make_call(reply, CANARY, call_id="2", digest="", status="error", output=f"There is no tool named {CANARY}.")
    ProviderState.objects.create(message=reply, state=f'[{{"signature": "{CANARY}"}}]')
    leave_in_journal(reply)
    # The rows were made past the app.
    call_command("rebuildsearch", stdout=StringIO())
    return conversation, reply


def leave_in_journal(reply: Message) -> None:
    """Let an ending of this reply wait that another process has saved differently; and what became of earlier ones."""
    if folder := conf.STREAMING_CHAT_JOURNAL_DIR:
        completion = Completion(reply.pk, reply.conversation_id, "w", reply.ending, [Event("text", CANARY)])
        journal.put(Record(completion, reply.ending))
        for suffix in ("fenced", "refused", "unreadable", "0a.taken"):
            Path(folder, f"{reply.pk}.{suffix}").write_text(CANARY)


def zero_what_is_deleted() -> None:
    """Let SQLite overwrite what it frees, as the example site does."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = ON")


def leave_what_is_deleted() -> None:
    """Let SQLite leave what it frees as it is, as on a site that has set nothing."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = OFF")
            cursor.fetchall()


def places(text: str = CANARY, valkey: Valkey | None = None) -> list[str]:
    """Return where a text is found: tables, files and keys, by name."""
    return [*tables(text), *files(text), *(keys(text, valkey) if valkey else [])]


def tables(text: str) -> list[str]:
    """Return the tables, of all that there are, in which a row has it."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            if text in str(cursor.fetchall()):
                found.append(table)
    return found


def files(text: str) -> list[str]:
    """Return the files of the database (SQLite) and of the journal that have it."""
    paths = []
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        paths = [path for path in map(Path, (name, f"{name}-wal", f"{name}-journal")) if path.exists()]
    if folder := conf.STREAMING_CHAT_JOURNAL_DIR:
        paths += sorted(Path(folder).iterdir())
    return [path.name for path in paths if text[-_END:].encode() in path.read_bytes()]


def keys(text: str, valkey: Valkey) -> list[str]:
    """Return the keys in Redis that have it."""
    with redis.Redis.from_url(valkey.url, socket_timeout=5) as client:
        return [key.decode() for key in client.scan_iter() if text.encode() in str(client.xrange(key)).encode()]
