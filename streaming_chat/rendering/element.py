"""The HTML of the `<streaming-chat>` element, for the app's own pages and for the template tag.

Its texts are in templates/streaming_chat/element.html; the texts that its script inserts are here.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from streaming_chat.accounts.owners import Owner, session_key
from streaming_chat.accounts.permissions import get_permissions, may_create_tokens
from streaming_chat.chats import page_context
from streaming_chat.conf import conf
from streaming_chat.exceptions import APIError

from . import ending_sentences
from .suggestions import as_suggestions

LAYOUTS = ("box", "page", "corner")

# A name is the beginning of ids, and lists of ids are split at spaces.
_NAME = re.compile(r"[A-Za-z][\w-]*")
# Messages have headings one level below that of the chat.
_LEVELS = range(1, 6)

# A connection counts as dead after two missed heartbeats, with 5 s for the network.
_MISSED_HEARTBEATS = 2
_SLACK_SECONDS = 5

WORDS = {
    "untitled": gettext_lazy("Untitled"),
    "new_chat": gettext_lazy("New chat"),
    "today": gettext_lazy("Today"),
    "yesterday": gettext_lazy("Yesterday"),
    "last_week": gettext_lazy("Previous 7 days"),
    "last_month": gettext_lazy("Previous 30 days"),
    "live": gettext_lazy("A reply is being written"),
    "unread": gettext_lazy("Unread"),
    "asks": gettext_lazy("Waiting for your answer"),
    "actions": gettext_lazy("Actions for {title}"),
    "writing": gettext_lazy("Writing…"),
    "finished": gettext_lazy("Reply finished"),
    "queued": gettext_lazy("Queued. It will be sent when the reply is finished."),
    "send_later": gettext_lazy("Send when the reply is finished"),
    "no_files": gettext_lazy("Files are not supported. Paste their text instead."),
    "gone": gettext_lazy("This conversation no longer exists."),
    "share_made": gettext_lazy("Copy the link now: it is not shown again."),
    "share_since": gettext_lazy("Shared on {date}. A new link replaces the one that was made then."),
    "share_not": gettext_lazy("This conversation is not shared."),
    "share_revoked": gettext_lazy("The link is revoked."),
    "reconnecting": gettext_lazy("Connection lost. Reconnecting…"),
    "offline": gettext_lazy("You are offline. Check your connection and try again."),
    "unexpected": gettext_lazy("The server sent an unexpected response."),
    "regenerate": gettext_lazy("Regenerate"),
    "retry": gettext_lazy("Try again"),
    "place": gettext_lazy("{index} of {count}"),
    "reasoning": gettext_lazy("Reasoning"),
    "reasoning_now": gettext_lazy("Reasoning…"),
    "reasoned": gettext_lazy("Reasoned for {seconds}"),
    "call_requested": pgettext_lazy("tool call", "Requested"),
    "call_running": pgettext_lazy("tool call", "Running…"),
    "call_waiting": pgettext_lazy("tool call", "Waiting for you"),
    "call_waiting_for_other": pgettext_lazy("tool call", "Waiting for another person"),
    "call_approved": pgettext_lazy("tool call", "Allowed"),
    "call_ok": pgettext_lazy("tool call", "Done"),
    "call_error": pgettext_lazy("tool call", "Failed"),
    "call_denied": pgettext_lazy("tool call", "Denied"),
    "call_cancelled": pgettext_lazy("tool call", "Cancelled"),
    "call_unknown": pgettext_lazy("tool call", "Outcome unknown"),
    "call_question": gettext_lazy("Allow the model to run {name} with these arguments?"),
    "call_of_client": gettext_lazy("{name} waits for a program of yours to run it."),
    "call_not_json": gettext_lazy("The arguments must be a JSON object."),
    "claim": gettext_lazy("You chatted here before you signed in: {titles}. Keep these chats in your account?"),
    "copy": gettext_lazy("Copy"),
    "copied": gettext_lazy("Copied"),
    "code": gettext_lazy("Code"),
    "table": gettext_lazy("Table"),
    "image": gettext_lazy("[Image: {alt} {address}]"),
    "done": gettext_lazy("Completed task"),
    "not_done": gettext_lazy("Open task"),
    "format": gettext_lazy("Format this text"),
    "not_formatted": gettext_lazy("This text is too complex to format."),
    "model": gettext_lazy("Model"),
    "effort": gettext_lazy("Reasoning effort"),
    "effort_option": gettext_lazy("Reasoning: {effort}"),
    "effort_default": pgettext_lazy("reasoning effort", "Default"),
    "effort_none": pgettext_lazy("reasoning effort", "None"),
    "effort_minimal": pgettext_lazy("reasoning effort", "Minimal"),
    "effort_low": pgettext_lazy("reasoning effort", "Low"),
    "effort_medium": pgettext_lazy("reasoning effort", "Medium"),
    "effort_high": pgettext_lazy("reasoning effort", "High"),
    "effort_xhigh": pgettext_lazy("reasoning effort", "Very high"),
    "effort_max": pgettext_lazy("reasoning effort", "Maximum"),
    "time": gettext_lazy("Started"),
    "input_tokens": gettext_lazy("Input tokens"),
    "output_tokens": gettext_lazy("Output tokens"),
    "reasoning_tokens": gettext_lazy("Reasoning tokens"),
    "first_event": gettext_lazy("Time to first token"),
    "duration": gettext_lazy("Total time"),
    "cost": gettext_lazy("Cost"),
}


def render_element(
    request: HttpRequest,
    *,
    layout: str = "box",
    number: int = 1,
    conversation: uuid.UUID | str | None = None,
    label: str = "",
    heading: str = "",
    level: int | None = None,
    name: str = "",
    suggestions: Any = None,
    metadata: Any = None,
    greeting: str = "",
) -> SafeString:
    """Return the element for the user of a request. The first one of a page (number 1) has its script and style sheet.

    suggestions: see as_suggestions; None for those of the settings. metadata, greeting: see page_context.sign.
    Raises ValueError for an invalid conversation id, level, name, suggestion or metadata.
    """
    if conversation and not isinstance(conversation, uuid.UUID):
        conversation = _id(conversation)
    _require_valid(level, name)
    label = label or (_("Chat") if number == 1 else _("Chat {number}").format(number=number))
    root = reverse("streaming_chat:chat")
    context: dict[str, Any] = {
        "root": root,
        "action": reverse("streaming_chat:conversation", args=[conversation]) if conversation else root,
        "layout": layout,
        "name": name or f"sc-{layout}-{number}",
        "conversation_id": conversation or "",
        "label": label,
        # Distinguishes several landmarks of the same name.
        "label_prefix": "" if layout == "page" else f"{label}: ",
        "heading": heading or _("New chat"),
        "level": level or (1 if layout == "page" else 2),
        "with_assets": number == 1,
        "suggestions": as_suggestions(conf.STREAMING_CHAT_SUGGESTIONS if suggestions is None else suggestions),
        "greeting": greeting,
        "page_context": _page_context(request, metadata, greeting),
        **_request_context(request),
    }
    return render_to_string("streaming_chat/element.html", context, request=request)


def _require_valid(level: int | None, name: str) -> None:
    if level is not None and level not in _LEVELS:
        raise ValueError(f"level must be 1 to 5, got {level!r}")
    if name and not _NAME.fullmatch(name):
        raise ValueError(f"name must begin with a letter and have letters, digits, - and _ only, got {name!r}")


def _request_context(request: HttpRequest) -> dict[str, Any]:
    """Return what depends on the user and the settings, and not on the tag's options."""
    owner = _owner(request)
    return {
        "client_id": secrets.token_urlsafe(16),
        "may_chat": owner is not None,
        "may_share": owner is not None and _may_share(request, owner),
        "may_create_tokens": owner is not None and may_create_tokens(request, owner),
        "owner": _draft_key(owner),
        # The setting has the WSGI name, "HTTP_X_CSRFTOKEN".
        "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
        "is_stranger": owner is not None and not owner.key,
        "may_claim": owner is not None and owner.user is not None and bool(session_key(request)),
        "silence_seconds": _MISSED_HEARTBEATS * conf.STREAMING_CHAT_HEARTBEAT_SECONDS + _SLACK_SECONDS,
        "login_url": redirect_to_login(request.get_full_path()).url,
        # In an attribute: under Trusted Types, a page's script cannot insert a <script> element, even one with data.
        "words": json.dumps({key: str(text) for key, text in WORDS.items()} | ending_sentences.owner_sentences()),
    }


def _may_share(request: HttpRequest, owner: Owner) -> bool:
    return conf.STREAMING_CHAT_SHARING and get_permissions().may_share(request, owner, None)


def _page_context(request: HttpRequest, metadata: Any, greeting: str) -> str:
    owner = _owner(request)
    return page_context.sign(owner, metadata, greeting) if owner else ""


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"conversation must be the id of one, got {text!r}") from None


def _owner(request: HttpRequest) -> Owner | None:
    """Return the owner; None for users who may not chat."""
    permissions = get_permissions()
    try:
        owner = permissions.identify(request)
    except APIError:
        return None
    return owner if permissions.may_read(request, owner) else None


def _draft_key(owner: Owner | None) -> str:
    """Return a key that separates the drafts of several users of one browser."""
    if owner is None or owner.user is None:
        # A visitor's own key does not exist before their first message, but their draft must be found after it.
        return "visitor"
    return salted_hmac("streaming_chat.element", owner.key, algorithm="sha256").hexdigest()[:16]
