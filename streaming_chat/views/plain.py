"""The chat without JavaScript: a form that posts, and a page that the server renders.

A post sends, waits for the reply's ending, and redirects to the page of the conversation. After an error the page is shown
again, with the text still in its form.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, Any
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions, may_answer, may_create_tokens
from streaming_chat.chats.branches import Page as MessagePage
from streaming_chat.chats.branches import branch_page
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.db.alias import live_database
from streaming_chat.db.leases import lease_judge
from streaming_chat.exceptions import APIError, error_text
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import endings
from streaming_chat.providers import default_model
from streaming_chat.providers.model_options import label_of

from .api import parsing
from .api.available_models import offered_models
from .api.lookups import find_reply
from .api.replies import begin_reply, grace_seconds, output_of
from .api.reply_answers import ReplyAnswer, answer_with_reply, owner_access, start_run
from .api.responses import api_error_from, keep_token, private
from .api.streaming import reply_view
from .plain_calls import AnswerForm, take_answer
from .plain_draft import Draft
from .plain_turns import turns_of
from .work_shares import MeasuredWork, charged_to

# How long a post waits for the ending: proxies give up after 30 s and more.
_ENDING_TIMEOUT = 25.0
# How often a page reloads while a reply is being written: each is a whole page.
_REFRESH_SECONDS = 3
_CONVERSATIONS = 20
_FORM = "application/x-www-form-urlencoded"
# With these statuses nothing of the request was read.
_UNREAD = {413, 415}
# After these errors, the page shows nothing of the database's.
_WITHOUT_ROWS = {"database_away", "too_many_requests"}

# Errors whose text for this page differs from the API's.
_API_ERRORS: dict[str, Promise] = {
    "csrf_failed": gettext_lazy("This page has expired. Send your message again."),
    "idempotency_mismatch": gettext_lazy(
        "This form was already sent with a different message. Send it again to send this one."
    ),
    "unsupported_media_type": gettext_lazy("This page only accepts its own form."),
    "too_large": gettext_lazy("The message is larger than this site accepts. Go back to edit it."),
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one page shows. owner: None to show nothing of the database. address: where its form posts.

    answer: what was posted about a tool call, after an error.
    """

    draft: Draft
    address: str
    owner: Owner | None = None
    conversation: Conversation | None = None
    error: APIError | None = None
    answer: AnswerForm | None = None


def with_form(page: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Return a view that shows a page, (request, **url), and also accepts its form."""

    def prepare(request: HttpRequest, **url: Any) -> ReplyAnswer | HttpResponse:
        return _send(request, **url) if request.method == "POST" else page(request, **url)

    return reply_view(prepare, _show_error, fits=_shows)


def _shows(method: str, body: IO[bytes]) -> bool:
    """Return whether a request only shows the page; the form waits for the reply."""
    return method != "POST"


def plain_page(request: HttpRequest, owner: Owner, conversation: Conversation | None = None) -> HttpResponse:
    """Show a conversation of the owner's, or a new one."""
    address = _address(conversation.pk if conversation else None)
    return _render(request, Page(draft=Draft(), address=address, owner=owner, conversation=conversation))


def _send(request: HttpRequest, conversation_id: uuid.UUID | None = None) -> ReplyAnswer | HttpResponse:
    with MeasuredWork() as work:
        require_form(request)
        owner = work.authenticate(request)
        if form := AnswerForm.from_post(request):
            return _answer_call(request, owner, form)
        return _begin_reply(request, owner, conversation_id)


def _begin_reply(request: HttpRequest, owner: Owner, conversation_id: uuid.UUID | None) -> ReplyAnswer:
    checks: dict[str, parsing.Check] = {
        "content": parsing.message_text(),
        "model": parsing.text(255, shortest=1),
        "parent": parsing.identifier,
        "client_id": parsing.client_id,
        "again": parsing.identifier,
    }
    draft = Draft.from_post(request)
    body = parsing.cleaned(draft.filled, checks)
    options: dict[str, Any] = {"conversation_id": conversation_id, "grace_seconds": grace_seconds(None)}
    if draft.again:
        reply = find_reply(owner, body["again"])
        options |= {"regenerate": reply.pk, "continues": draft.continues, "conversation_id": reply.conversation_id}
        options["output"] = output_of(reply)
    send_request = SendRequest.from_body(body, **options)
    return _until_ending(begin_reply(request, owner, send_request))


def _answer_call(request: HttpRequest, owner: Owner, form: AnswerForm) -> ReplyAnswer | HttpResponse:
    reply, order = take_answer(request, owner, form)
    if order is None:
        return _redirect(reply.pk, False)
    # At once: whatever fails from here on, the reply must not be left without its run.
    run = start_run(request, order)
    return _until_ending(answer_with_reply(reply.pk, run, owner_access(request, owner)))


def _until_ending(answer: ReplyAnswer) -> ReplyAnswer:
    """Return the answer that redirects to the reply once it has ended, or waits."""
    lease_judge.database_answered()
    answer.timeout = _ENDING_TIMEOUT
    # Not a closure over `answer`: a cycle would keep the whole prompt until the garbage collector runs.
    answer.finish = partial(_redirect, answer.message_id)
    return answer


def require_form(request: HttpRequest) -> None:
    """Raise APIError if the body is too large, or is not a form: the CSRF check reads all of it."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > parsing.max_body_bytes():
        raise APIError(413, "too_large")
    if request.content_type != _FORM:
        raise APIError(415, "unsupported_media_type")


def _redirect(message_id: uuid.UUID, has_ended: bool) -> HttpResponse:
    message = Message.objects.using(live_database()).only("conversation_id").get(pk=message_id)
    response = HttpResponseRedirect(f"{_address(message.conversation_id)}?view=plain#m-{message_id}")
    response.status_code = 303
    return private(response)


def _show_error(request: HttpRequest, error: Exception, url: dict[str, Any]) -> HttpResponse:
    """Answer a post with the page and what was posted; leave everything else to the site's own error pages."""
    is_hostile = isinstance(error, SuspiciousOperation) and not isinstance(error, RequestDataTooBig)
    if request.method != "POST" or is_hostile:
        raise error
    api_error = api_error_from(error)
    is_unread = api_error.status in _UNREAD
    is_without_rows = is_unread or api_error.code in _WITHOUT_ROWS
    owner = None if is_without_rows else _reading_owner(request)
    # The form posts to the same conversation again, even if it cannot be shown.
    address = _address(None if api_error.code == "not_found" else url.get("conversation_id"))
    conversation = None
    if owner is not None and "conversation_id" in url:
        conversation = _conversations(owner).filter(pk=url["conversation_id"]).first()
    draft = Draft() if is_unread else Draft.from_post(request)
    answer = None if is_unread else AnswerForm.from_post(request)
    page = Page(draft=draft, address=address, owner=owner, conversation=conversation, error=api_error, answer=answer)
    return charged_to(owner.key if owner else "", _render)(request, page)


def _reading_owner(request: HttpRequest) -> Owner | None:
    """Return the owner that the request is from, None without the permission to read."""
    permissions = get_permissions()
    try:
        owner = permissions.authenticate(request)
        return owner if permissions.may_read(request, owner) else None
    except APIError:
        return None


def _conversations(owner: Owner) -> QuerySet[Conversation]:
    return Conversation.objects.using(live_database()).for_owner(owner.key)


def _render(request: HttpRequest, page: Page) -> HttpResponse:
    error = page.error
    context = _context(request, page) | _form_context(request, page)
    response = render(request, "streaming_chat/plain.html", context, status=error.status if error else 200)
    if error and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    # Logged already if there is more to say; Django would mail the admins for each 503 of a restart.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return keep_token(request, private(response))


def _context(request: HttpRequest, page: Page) -> dict[str, Any]:
    conversation = page.conversation
    shown = _shown(request, conversation) if conversation else MessagePage([], None)
    turns = turns_of(shown.messages, request.GET.get("format", ""))
    is_written = any(turn.message.status == endings.STREAMING for turn in turns)
    recent = _conversations(page.owner).order_by("-last_activity", "-id")[:_CONVERSATIONS] if page.owner else []
    return {
        "conversation": conversation,
        "conversations": recent,
        "turns": turns,
        "earlier": shown.following,
        # Not with an error: reloading would remove the text from the form.
        "refresh": _refresh(request, turns[-1].message) if is_written and page.error is None else "",
        "is_waiting": any(turn.is_waiting for turn in turns),
        "may_answer": _may_answer(request, page),
        "answer": page.answer,
    }


def _may_answer(request: HttpRequest, page: Page) -> bool:
    if page.owner is None or page.conversation is None:
        return False
    return may_answer(request, page.owner, page.conversation)


def _form_context(request: HttpRequest, page: Page) -> dict[str, Any]:
    draft, error = page.draft, page.error
    # A send that may have worked is found again by its client_id.
    kept = draft.client_id if error is not None and error.status >= 500 else ""
    models = offered_models(request, page.owner) if page.owner else []
    return {
        "address": page.address,
        "draft": draft,
        "client_id": ("" if draft.again else kept) or secrets.token_urlsafe(16),
        "again_client_id": (kept if draft.again else "") or secrets.token_urlsafe(16),
        "may_create_tokens": page.owner is not None and may_create_tokens(request, page.owner),
        "models": [(name, label_of(name)) for name in models if not name.endswith(":*")],
        "model": draft.model or (page.conversation.model if page.conversation else "") or default_model(),
        "error": _in_words(error, draft) if error else "",
        "login_url": redirect_to_login(page.address).url if error and error.status == 401 else "",
    }


def _address(conversation_id: uuid.UUID | None) -> str:
    if conversation_id is None:
        return reverse("streaming_chat:chat")
    return reverse("streaming_chat:conversation", args=[conversation_id])


def _refresh(request: HttpRequest, message: Message) -> str:
    """Return when to reload, and from where: another address each time.

    The page's own address with a fragment would only scroll: Chromium loads nothing for it.
    """
    query = {"view": "plain", "look": "2" if request.GET.get("look") == "1" else "1"}
    if "format" in request.GET:
        query["format"] = request.GET["format"]
    return f"{_REFRESH_SECONDS};url={_address(message.conversation_id)}?{urlencode(query)}#m-{message.pk}"


def _shown(request: HttpRequest, conversation: Conversation) -> MessagePage:
    """Return the newest messages of the branch in view, or those `before` a message; the newest for an unknown one."""
    try:
        return branch_page(conversation, before=parsing.identifier(request.GET.get("before", "")))
    except (ValueError, Message.DoesNotExist):
        return branch_page(conversation)


def _in_words(error: APIError, draft: Draft) -> str:
    fields = error.fields or {}
    if "answers" in fields:
        return fields["answers"]
    if "content" in fields:
        return fields["content"] if draft.content.strip() else _("Write a message first.")
    if "model" in fields:
        return error_text("model_unknown")
    return str(_API_ERRORS.get(error.code) or error.text)
