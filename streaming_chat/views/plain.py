"""The chat without JavaScript: a form that posts, and a page that the server renders.

A post sends, waits for the reply's ending, and leads to the page of the conversation; one that is refused shows the page
again, with what was written still in its form.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.tree import path_ids
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.engine import lookup
from streaming_chat.exceptions import APIError, error_text
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event
from streaming_chat.protocol.text import storable
from streaming_chat.providers import default_model
from streaming_chat.rendering.markdown import markdown, plain
from streaming_chat.rendering.outcomes import describe_to_owner

from .api import parsing
from .api.models import offered_models
from .api.replies import begin_reply, grace_seconds
from .api.reply_answers import ReplyAnswer
from .api.responses import api_error_from, keep_token, private
from .api.serializers import live_events
from .api.streaming import reply_view

# How long a post waits for the ending: proxies give up after 30 s and more.
_WAIT_SECONDS = 25.0
# Between two looks of a page at a reply that is being written: each is a whole page.
_REFRESH_SECONDS = 3
_PAGE = 50
_CONVERSATIONS = 20
# Ordinary Markdown of this size takes 0.3 s to render, the slowest that was found 2 s; the rest of a page is plain.
_MAX_MARKDOWN_CHARS = 200_000
_FORM = "application/x-www-form-urlencoded"
# Of these nothing was read.
_UNREAD = {413, 415}

# What this page says in other words than the API.
_API_ERRORS: dict[str, Promise] = {
    "csrf_failed": gettext_lazy("This page has expired. Send your message again."),
    "idempotency_mismatch": gettext_lazy(
        "This form was already sent with a different message. Send it again to send this one."
    ),
    "unsupported_media_type": gettext_lazy("This page only accepts its own form."),
    "too_large": gettext_lazy("The message is larger than this site accepts. Go back to edit it."),
}


@dataclass(frozen=True, repr=False)
class Draft:
    """What the form holds. Its repr is the default one: no text in logs and error pages."""

    content: str = ""
    model: str = ""
    parent: str = ""
    client_id: str = ""

    @classmethod
    def posted(cls, request: HttpRequest) -> Draft:
        """Return what was written. A form ends its lines with CRLF."""
        said = {name: storable(request.POST.get(name, "")) for name in ("content", "model", "parent", "client_id")}
        return cls(**said | {"content": said["content"].replace("\r\n", "\n")})

    @property
    def said(self) -> dict[str, str]:
        """What of it was filled in; the text always counts."""
        filled = {name: getattr(self, name) for name in ("model", "parent", "client_id")}
        return {"content": self.content} | {name: value for name, value in filled.items() if value}


@dataclass(frozen=True, repr=False)
class Part:
    """A piece of a message. label: what it is, "" for what is said."""

    html: SafeString
    label: str = ""


@dataclass(frozen=True, repr=False)
class Turn:
    """A message as the page shows it. outcome: how a reply ended, in words; "" where it ended as most do."""

    message: Message
    parts: list[Part]
    outcome: str


def with_form(page: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Return the view of an address that shows a page, (request, **url), and takes what its form sends."""

    def prepare(request: HttpRequest, **url: Any) -> ReplyAnswer | HttpResponse:
        return _send(request, **url) if request.method == "POST" else page(request, **url)

    return reply_view(prepare, sync_to_async(_failed, thread_sensitive=True))


def plain_page(request: HttpRequest, owner: Owner, conversation: Conversation | None = None) -> HttpResponse:
    """Show a conversation of theirs, or a new one."""
    return _render(request, Draft(), owner, conversation)


def _send(request: HttpRequest, conversation_id: uuid.UUID | None = None) -> ReplyAnswer:
    _require_form(request)
    owner = get_permissions().authenticate(request)
    checks: dict[str, parsing.Check] = {
        "content": parsing.message_text(),
        "model": parsing.text(255, shortest=1),
        "parent": parsing.identifier,
        "client_id": parsing.client_id,
    }
    body = parsing.cleaned(Draft.posted(request).said, checks)
    send_request = SendRequest.from_body(body, conversation_id=conversation_id, grace_seconds=grace_seconds(None))
    answer = begin_reply(request, owner, send_request)
    lease_judge.database_answered()
    answer.timeout = _WAIT_SECONDS
    # Not a closure over `answer`: a cycle would keep the whole prompt until the garbage collector runs.
    answer.finish = partial(_redirect, answer.message_id)
    return answer


def _require_form(request: HttpRequest) -> None:
    """Raise APIError for what is too large, or no form: the check of CSRF reads it all."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > parsing.max_body_bytes():
        raise APIError(413, "too_large")
    if request.content_type != _FORM:
        raise APIError(415, "unsupported_media_type")


def _redirect(message_id: uuid.UUID, ended: bool) -> HttpResponse:
    message = Message.objects.using(live_database()).only("conversation_id").get(pk=message_id)
    response = HttpResponseRedirect(f"{_address(message.conversation_id)}?view=plain#m-{message_id}")
    response.status_code = 303
    return private(response)


def _failed(request: HttpRequest, error: Exception, url: dict[str, Any]) -> HttpResponse:
    """Answer a post with the page and what was written; leave everything else to the site's own error pages."""
    is_hostile = isinstance(error, SuspiciousOperation) and not isinstance(error, RequestDataTooBig)
    if request.method != "POST" or is_hostile:
        raise error
    refusal = api_error_from(error)
    draft = Draft() if refusal.status in _UNREAD else Draft.posted(request)
    owner = conversation = None
    # Where the form posts again: to the same conversation, though it cannot be shown.
    address = _address(None if refusal.code == "not_found" else url.get("conversation_id"))
    # A page without anything of the database's, where that is away.
    if refusal.status not in _UNREAD and refusal.code != "database_away":
        owner = _reading_owner(request)
    if owner is not None and "conversation_id" in url:
        conversation = _mine(owner).filter(pk=url["conversation_id"]).first()
    return _render(request, draft, owner, conversation, refusal, address=address)


def _reading_owner(request: HttpRequest) -> Owner | None:
    """Return who asks, None for who may not read."""
    permissions = get_permissions()
    try:
        owner = permissions.authenticate(request)
        return owner if permissions.may_read(request, owner) else None
    except APIError:
        return None


def _mine(owner: Owner) -> QuerySet[Conversation]:
    return Conversation.objects.using(live_database()).for_owner(owner.key)


def _render(
    request: HttpRequest,
    draft: Draft,
    owner: Owner | None,
    conversation: Conversation | None,
    refusal: APIError | None = None,
    *,
    address: str = "",
) -> HttpResponse:
    address = address or _address(conversation.pk if conversation else None)
    ids, has_earlier = _shown_ids(request, conversation) if conversation else ([], False)
    turns = _turns(conversation, ids) if conversation else []
    is_live = any(turn.message.is_live for turn in turns)
    # A send that may have worked is to be found again by its client_id.
    keeps_client_id = refusal is not None and refusal.status >= 500
    models = [name for name in offered_models(request, owner) if not name.endswith(":*")] if owner else []
    context = {
        "address": address,
        "conversation": conversation,
        "conversations": _mine(owner).order_by("-last_activity", "-id")[:_CONVERSATIONS] if owner else [],
        "turns": turns,
        "earlier": ids[0] if has_earlier else None,
        # Not beside a text that it would take away.
        "refresh": _refresh(request, turns[-1].message) if is_live and refusal is None else "",
        "draft": draft,
        "client_id": (keeps_client_id and draft.client_id) or secrets.token_urlsafe(16),
        "models": models,
        "model": draft.model or (conversation.model if conversation else "") or default_model(),
        "error": _in_words(refusal, draft) if refusal else "",
        "login_url": redirect_to_login(address).url if refusal and refusal.status == 401 else "",
    }
    response = render(request, "streaming_chat/plain.html", context, status=refusal.status if refusal else 200)
    if refusal and refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    # Said in the log where there is more to say; Django would mail the admins for each 503 of a restart.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return keep_token(request, private(response))


def _address(conversation_id: uuid.UUID | None) -> str:
    if conversation_id is None:
        return reverse("streaming_chat:chat")
    return reverse("streaming_chat:conversation", args=[conversation_id])


def _refresh(request: HttpRequest, message: Message) -> str:
    """Return when to look again, and where: at another address each time.

    The page's own, which names a message, would be a place in the page that is there: Chromium loads nothing for it.
    """
    look = "2" if request.GET.get("look") == "1" else "1"
    return f"{_REFRESH_SECONDS};url={_address(message.conversation_id)}?view=plain&look={look}#m-{message.pk}"


def _shown_ids(request: HttpRequest, conversation: Conversation) -> tuple[list[uuid.UUID], bool]:
    """Return the newest messages of the path in view, or those `before` one of them; and whether there are earlier ones."""
    path = path_ids(conversation, conversation.head_id)
    before = request.GET.get("before", "")
    end = next((index for index, pk in enumerate(path) if str(pk) == before), len(path))
    start = max(end - _PAGE, 0)
    return path[start:end], start > 0


def _turns(conversation: Conversation, ids: list[uuid.UUID]) -> list[Turn]:
    found = Message.objects.using(live_database()).filter(conversation=conversation).in_bulk(ids)
    budget = _MAX_MARKDOWN_CHARS
    turns = []
    for message in (found[pk] for pk in ids if pk in found):
        is_tame = message.is_reply and budget > 0
        turns.append(Turn(message, list(_parts(_received(message), is_tame)), describe_to_owner(message)))
        budget -= len(message.text)
    return turns


def _received(message: Message) -> list[Event]:
    if message.is_live:
        # Whoever looks again and again follows it.
        lookup.mark_followed([message.pk])
        return live_events(message)
    return message.events() or [Event(events.TEXT, message.text)] * bool(message.text)


def _parts(received: Iterable[Event], is_markdown: bool) -> Iterable[Part]:
    for kind, payload in events.merge(received):
        if kind == events.TEXT:
            yield Part(markdown(payload) if is_markdown else plain(payload))
        elif kind == events.REASONING:
            yield Part(plain(payload), _("Reasoning"))
        elif kind == events.TOOL_CALL:
            label = _("Tool call: {name}").format(name=payload.get("name", ""))
            yield Part(plain(str(payload.get("arguments", ""))), label)


def _in_words(refusal: APIError, draft: Draft) -> str:
    fields = refusal.fields or {}
    if "content" in fields:
        if not draft.content.strip():
            return _("Write a message first.")
        return fields["content"]
    if "model" in fields:
        return error_text("model_unknown")
    return str(_API_ERRORS.get(refusal.code) or refusal.message or error_text(refusal.code))
