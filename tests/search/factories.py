"""Searchable texts for tests."""

import re
import uuid
from datetime import timedelta
from io import StringIO

from django.core.management import call_command
from django.utils import timezone

from streaming_chat.db.hooks import SavedText
from streaming_chat.search import entries, query
from tests.factories import make_conversation, make_message

LIST = "/admin/streaming_chat/conversation/"


SEARCH = f"{LIST}search/"


USING = "default"


# Syntax of FTS5, of a tsquery, of SQL, of HTML, and of nothing.
HOSTILE = (
    '"', '""', '"""', "'", "''", "*", "**", "a*b", '"a', 'a"b"c', "(", ")", "()", "(a", "a)", "a AND", "AND", "OR OR",
    "NOT", "a NOT", "NEAR(a, b)", "NEAR(", "a NEAR/2 b", "words:a", "-a", "a -", "+a", "^a", "{a b}:c", "a:b", "a:*",
    "a & b", "a | b", "!a", "a <-> b", "<2>", "'a':*", "a\\", "\\'", "a; DROP TABLE x", "%", "_", "%s", "%(a)s", "{}",
    "<script>", "\x00", "a\x00b", "\ud800", "\u202e", "…", "½", "ﷺ", "\U0001f600", "é" * 600, "取", "a " * 300, '"a ' * 50,
)  # fmt: skip


def add(message, using=USING):
    entries.add([SavedText(message.conversation_id, message.pk, message.is_reply, message.text)], using)
    return message


def said(text, conversation=None, **fields):
    """Return a message that can be found."""
    return add(make_message(conversation or make_conversation(), text, **fields))


def found(sought, **options):
    """Return the texts that a search finds, in its order."""
    return [hit.text for hit in query.search(sought, **options).hits]


def made(days, chance=0):
    """Return an id that was made so many days ago."""
    milliseconds = int((timezone.now() - timedelta(days=days)).timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | chance)


def added_by_rebuilding(*args):
    """Return how many texts `manage.py rebuildsearch` said it added."""
    out = StringIO()
    call_command("rebuildsearch", *args, stdout=out)
    return int(re.search(r"(\d+) texts added\.", out.getvalue())[1])
