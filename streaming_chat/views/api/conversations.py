"""Conversations: list, create, read, change, delete, restore."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import DateTimeField, Q, Value
from django.db.models.functions import Cast, Now
from django.http import HttpRequest, HttpResponse, JsonResponse

from streaming_chat.accounts.blocks import require_not_blocked
from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.branches import is_in_view, newest_leaf
from streaming_chat.chats.deletion import delete_for_owner, restore
from streaming_chat.chats.tree import messages_of
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, ModelTitle, Status
from streaming_chat.providers import default_model, is_offered, not_offered
from streaming_chat.quotas import Quota, get_quota
from streaming_chat.search import entries, own_texts

from . import parsing
from .lookups import find_conversation
from .message_pages import branch_fields, branch_in_view
from .operations import operation
from .responses import Answer, api, require, require_found
from .serializers import serialize_conversation

_PAGE = 30
# SQLite refuses a LIKE pattern of more than 50,000 bytes; no real search is that long.
_SEARCH_CHARS = 200
_LARGEST_PAGE = 100
_UNDO = timedelta(seconds=60)
# Conversations of one owner without a message, which cost rows and no tokens. A client creates one before it sends.
_MAX_EMPTY = 100
# Deleted ones count so long, or creating and deleting would be unlimited.
_EMPTY_COUNTS = timedelta(days=1)


def _page_fields() -> parsing.Fields:
    return parsing.Fields(_PAGE_CHECKS)


@operation(query=_page_fields, answers={200: "ConversationPage"})
def list_conversations(request: HttpRequest, owner: Owner) -> Answer:
    """The owner's conversations, newest first, a page at a time."""
    require(get_permissions().may_read(request, owner))
    if "search" in request.GET:
        # Servers log addresses, and the words of a search are text.
        raise APIError(422, "invalid", fields={"search": "Send the words with POST to api/conversations/search."})
    # An empty value counts as none, since the first page has no `before`.
    chosen = {name: value for name in _PAGE_CHECKS if (value := request.GET.get(name))}
    return _page(owner, parsing.cleaned(chosen, _PAGE_CHECKS))


def _search_fields() -> parsing.Fields:
    return parsing.Fields({"search": parsing.text(_SEARCH_CHARS), **_PAGE_CHECKS}, ["search"])


@operation(body=_search_fields, answers={200: "SearchPage"})
def search_conversations(request: HttpRequest, owner: Owner) -> Answer:
    """The owner's conversations that match a search, as the list shows them, each with the passage."""
    require(get_permissions().may_read(request, owner))
    return _page(owner, parsing.read_body(request, *_search_fields()))


def _page(owner: Owner, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return a page of the list. chosen: `search`, `status`, `before` and `limit`, checked."""
    found = Conversation.objects.for_owner(owner.key)
    if search := chosen.get("search", "").strip():
        found = own_texts.matching(found, search)
    if "status" in chosen:
        found = found.filter(last_status=chosen["status"])
    if "before" in chosen:
        moment, pk = chosen["before"]
        # SQLite compares times as text, and Now() writes three decimals where a parameter has six: so does the cast.
        activity = Cast(Value(moment), DateTimeField())
        found = found.filter(Q(last_activity__lt=activity) | Q(last_activity=activity, pk__lt=pk))
    limit = chosen.get("limit", _PAGE)
    page = list(found.order_by("-last_activity", "-id")[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    results = [serialize_conversation(item) for item in page]
    if search:
        _add_matches(results, page, search)
    return {"results": results, "next": _cursor(page[-1]) if more else None}


def _new_fields() -> parsing.Fields:
    return parsing.Fields(
        {
            "title": parsing.text(200),
            "system": parsing.text(conf.STREAMING_CHAT_MAX_MESSAGE_CHARS),
            "model": parsing.text(255, shortest=1),
            "metadata": parsing.metadata,
        }
    )


@operation(
    body=_new_fields, answers={201: "Conversation"}, errors=("blocked", "too_many_conversations", "quota_exceeded")
)
def create_conversation(request: HttpRequest, owner: Owner) -> Answer:
    """Create a conversation without messages."""
    body = parsing.read_body(request, *_new_fields())
    require_not_blocked(owner.key, live_database())
    require(get_permissions().may_send(request, owner, None))
    if "system" in body and not get_permissions().may_set_system_prompt(request, owner):
        raise APIError(422, "invalid", fields={"system": "This site sets the system prompt."})
    model = body.get("model", "") or default_model()
    _check_model(request, owner, model)
    conversation = Conversation(
        owner=owner.user,
        owner_key=owner.key,
        title=body.get("title", ""),
        model=model,
        system_prompt=body.get("system", conf.STREAMING_CHAT_SYSTEM_PROMPT),
        metadata=body.get("metadata", {}),
    )
    quota = get_quota()
    # As a reply of no tokens: a visitor without a cookie is limited by the address.
    plan = quota and quota.plan(request, owner.key, input_tokens=0, output_tokens=0)
    write_transaction(partial(_insert, conversation, quota, plan))
    return JsonResponse(serialize_conversation(find_conversation(owner, conversation.pk)), status=201)


@operation(query=branch_fields, answers={200: "OpenConversation"})
def get_conversation(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """A conversation with the newest messages of the branch in view."""
    require(get_permissions().may_read(request, owner))
    return _with_messages(request, find_conversation(owner, conversation_id), owner)


def _change_fields() -> parsing.Fields:
    return parsing.Fields(
        {
            "title": parsing.text(200),
            "model": parsing.text(255, shortest=1),
            "head": parsing.optional(parsing.identifier),
            "branch": parsing.identifier,
        }
    )


@operation(body=_change_fields, query=branch_fields, answers={200: "OpenConversation"})
def change_conversation(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Change the title, the model or the branch in view."""
    body = parsing.read_body(request, *_change_fields())
    conversation = find_conversation(owner, conversation_id)
    changes: dict[str, Any] = {key: body[key] for key in ("title", "model") if key in body}
    if "model" in body:
        _check_model(request, owner, body["model"])
    if "head" in body:
        changes["head_id"] = body["head"] and _message(conversation, "head", body["head"])
    if "branch" in body:
        message = _message(conversation, "branch", body["branch"])
        if not is_in_view(conversation, message):
            changes["head_id"] = newest_leaf(conversation, message)
    if changes:
        write_transaction(partial(_update, conversation.pk, changes))
    return _with_messages(request, find_conversation(owner, conversation_id), owner)


@operation(answers={204: None})
def delete_conversation(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Mark a conversation as deleted, and stop its live reply."""
    conversation = find_conversation(owner, conversation_id)
    delete_for_owner(conversation.pk)
    for run in runner.live:
        if run.conversation_id == conversation.pk:
            run.request_stop("user")
    return HttpResponse(status=204)


@operation(body=parsing.no_fields, query=branch_fields, answers={200: "OpenConversation"})
def restore_conversation(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID) -> Answer:
    """Undo a deletion of the last minute."""
    parsing.read_body(request, *parsing.no_fields())
    mine = Conversation.objects.using(live_database()).owned_by(owner.key)
    conversation = require_found(mine.filter(pk=conversation_id).first())
    if conversation.deleted_at and not restore(conversation.pk, _UNDO):
        raise APIError(404, "not_found")
    return _with_messages(request, find_conversation(owner, conversation_id), owner)


def _insert(conversation: Conversation, quota: Quota | None, plan: Any) -> None:
    """Insert an empty conversation. Raises APIError: 429."""
    using = live_database()
    conversation.save(using=using, force_insert=True)
    _require_few_empty(conversation.owner_key, using)
    if conversation.title:
        entries.replace_title(conversation.pk, conversation.title, using)
    # Last: many requests share the quota's rows.
    if quota is not None:
        quota.reserve(plan, using)


def _require_few_empty(owner_key: str, using: str) -> None:
    empty = Conversation.objects.using(using).owned_by(owner_key).filter(message_count=0)
    if empty.exclude(deleted_at__lt=Now() - _EMPTY_COUNTS).count() > _MAX_EMPTY:
        raise APIError(429, "too_many_conversations", retry_after=60)


def _update(conversation_id: uuid.UUID, changes: dict[str, Any]) -> None:
    Conversation.objects.using(live_database()).filter(pk=conversation_id).update(**changes)
    if "title" in changes:
        ModelTitle.objects.using(live_database()).filter(pk=conversation_id).update(is_in_use=False)
        entries.replace_title(conversation_id, changes["title"], live_database())


def _with_messages(request: HttpRequest, conversation: Conversation, owner: Owner) -> dict[str, Any]:
    return serialize_conversation(conversation) | branch_in_view(request, owner, conversation)


def _message(conversation: Conversation, field: str, message_id: uuid.UUID) -> uuid.UUID:
    if not messages_of(conversation).filter(pk=message_id).exists():
        raise APIError(422, "invalid", fields={field: "Must be a message of this conversation."})
    return message_id


def _check_model(request: HttpRequest, owner: Owner, model: str) -> None:
    if not is_offered(model):
        raise APIError(422, "invalid", fields={"model": not_offered(model)})
    require(get_permissions().may_use_model(request, owner, model))


def _add_matches(results: list[dict[str, Any]], conversations: list[Conversation], search: str) -> None:
    found = own_texts.matches(conversations, search)
    for result, conversation in zip(results, conversations, strict=True):
        message, snippet = found[conversation.pk]
        result["match"] = {
            "message": str(message) if message else None,
            "snippet": [{"text": piece.text, "is_match": piece.is_match} for piece in snippet],
        }


def _cursor(conversation: Conversation) -> str:
    plain = f"{conversation.last_activity.isoformat()} {conversation.pk}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


@parsing.check(type="string")
def _read_cursor(cursor: Any) -> tuple[datetime, uuid.UUID]:
    """Check the `next` of an earlier page, which holds a time and an id."""
    try:
        if not isinstance(cursor, str):
            raise ValueError
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        activity, _space, pk = plain.partition(" ")
        read = datetime.fromisoformat(activity)
        if read.tzinfo is None:
            raise ValueError
        return read.astimezone(UTC), uuid.UUID(pk)
    except (ValueError, OverflowError, binascii.Error):
        raise ValueError("Must be the `next` of an earlier page.") from None


_PAGE_CHECKS: dict[str, parsing.Check] = {
    "status": parsing.one_of(*Status.values),
    "before": _read_cursor,
    "limit": parsing.page_limit(_LARGEST_PAGE),
}

conversations_view = api(GET=list_conversations, POST=create_conversation)
search_view = api(POST=search_conversations)
conversation_view = api(GET=get_conversation, PATCH=change_conversation, DELETE=delete_conversation)
restore_view = api(POST=restore_conversation)
