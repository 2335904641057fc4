"""Downloads for owners: a conversation as a file, and all conversations in one archive.

A file is made while it is sent, a page of messages at a time. Each conversation is as it is when it is read. The right to
read is asked again once a heartbeat, as for streams.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from django.http import HttpRequest
from django.utils import timezone

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions, may_read_now
from streaming_chat.chats.branches import tree_pages, whole_branch
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.paging import key_pages
from streaming_chat.exports.archive import ArchivedFile, archive
from streaming_chat.exports.owner_files import Turn, encoded, file_stem, markdown_file, openai_file
from streaming_chat.exports.rows import to_json
from streaming_chat.models import Conversation
from streaming_chat.views.downloads import owner_download

from . import parsing
from .lookups import find_conversation
from .operations import operation
from .responses import Answer, api, require
from .serializers import received_events, serialize_conversation, serialize_messages

_PAGE_SIZE = 100
# Without Zip64, which some programs do not read, a file of an archive has at most this many bytes.
_LARGE_BYTES = 2**31
# A character of a reply is in its text and in its parts, each time as an escape of up to 6 bytes.
_BYTES_PER_CHAR = 12


class FileFormat(NamedTuple):
    """What a file of a conversation consists of. Its pieces are made one after the other."""

    suffix: str
    content_type: str
    pieces: Callable[[Owner, Conversation], Iterator[str]]


def _export_fields() -> parsing.Fields:
    return parsing.Fields({"format": parsing.one_of(*FORMATS)})


@operation(query=_export_fields, answers={200: ("application/json", "text/markdown")}, errors=("too_many_streams",))
def export_conversation(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """A conversation as a file: all branches, or the one in view."""
    require(get_permissions().may_read(request, owner))
    query = parsing.read_query(request, *_export_fields())
    suffix, content_type, pieces = FORMATS[query.get("format", "json")]
    conversation = find_conversation(owner, conversation_id)
    data = _while_allowed(request, owner, encoded(pieces(owner, conversation)))
    return owner_download(request, owner.key, data, f"{file_stem(conversation)}.{suffix}", content_type)


@operation(answers={200: "application/zip"}, errors=("too_many_streams",))
def export_all(request: HttpRequest, owner: Owner) -> Answer:
    """All conversations of the owner in a zip archive, each as Markdown and as JSON."""
    require(get_permissions().may_read(request, owner))
    name = f"chats-{timezone.localdate():%Y-%m-%d}.zip"
    data = _while_allowed(request, owner, archive(_files(owner)))
    return owner_download(request, owner.key, data, name, "application/zip")


def _while_allowed(request: HttpRequest, owner: Owner, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces. Raises APIError 403, which cuts the connection, when the owner may not read any more."""
    asked_at = time.monotonic()
    for piece in pieces:
        if time.monotonic() - asked_at >= conf.STREAMING_CHAT_HEARTBEAT_SECONDS:
            require(may_read_now(request, owner))
            asked_at = time.monotonic()
        yield piece


def _files(owner: Owner) -> Iterator[ArchivedFile]:
    mine = Conversation.objects.using(live_database()).for_owner(owner.key)
    for pk in chain.from_iterable(key_pages(mine, _PAGE_SIZE)):
        # None if it was deleted in between.
        if conversation := mine.filter(pk=pk).first():
            for name in _ARCHIVED:
                yield _archived(owner, conversation, FORMATS[name])


def _archived(owner: Owner, conversation: Conversation, chosen: FileFormat) -> ArchivedFile:
    most = conversation.message_count * conf.STREAMING_CHAT_MAX_REPLY_CHARS * _BYTES_PER_CHAR
    return ArchivedFile(
        f"{file_stem(conversation)}.{chosen.suffix}",
        conversation.last_activity,
        encoded(chosen.pieces(owner, conversation)),
        is_large=most >= _LARGE_BYTES,
    )


def _json_file(owner: Owner, conversation: Conversation) -> Iterator[str]:
    """Yield a conversation with the messages of all branches, as the API has them."""
    yield f'{{"conversation": {to_json(serialize_conversation(conversation))},\n"messages": ['
    separator = "\n"
    for page in tree_pages(conversation):
        for message in serialize_messages(page, owner.key):
            yield separator + to_json(message)
            separator = ",\n"
    yield "\n]}\n"


def _markdown_file(owner: Owner, conversation: Conversation) -> Iterator[str]:
    return markdown_file(conversation, _turns(conversation))


def _openai_file(owner: Owner, conversation: Conversation) -> Iterator[str]:
    return openai_file(conversation, _turns(conversation))


def _turns(conversation: Conversation) -> Iterator[Turn]:
    for page in whole_branch(conversation):
        for message in page:
            yield message, received_events(message)


FORMATS = {
    "json": FileFormat("json", "application/json", _json_file),
    "md": FileFormat("md", "text/markdown; charset=utf-8", _markdown_file),
    "openai": FileFormat("openai.json", "application/json", _openai_file),
}
_ARCHIVED = ("md", "json")

conversation_export_view = api(GET=export_conversation)
export_view = api(GET=export_all)
