"""Redacting a message in its transcript: a first POST shows a confirmation, a second one redacts.

With the permission to read, passages can be redacted instead: partial_redactions.py has that page.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.translation import gettext as _

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.privacy.redactions import StillLiveError, redact, searches_quoting_message
from streaming_chat.protocol.storable_text import storable

from .history import log_change
from .lists import ReadOnlyAdmin, may_read
from .pages import post_only, render_page, retry_on_lock_timeout, transcript_url
from .partial_redactions import passages_form, redact_passages_view
from .review_bar import list_query


def may_redact(request: HttpRequest) -> bool:
    """Return whether the user may redact texts, which does not require the permission to read them."""
    return request.user.has_perm("streaming_chat.redact_transcript")


class RedactionMixin(ReadOnlyAdmin):
    """The views of the admin of conversations that redact."""

    def get_urls(self) -> list[Any]:
        """Add the address before the others."""
        return [
            path(
                "<uuid:conversation_id>/messages/<uuid:message_id>/redact/",
                post_only(self, self.redact_message),
                name="streaming_chat_conversation_redact",
            ),
            path(
                "<uuid:conversation_id>/redact/",
                post_only(self, partial(redact_passages_view, self)),
                name="streaming_chat_conversation_redact_passages",
            ),
            *super().get_urls(),
        ]

    @retry_on_lock_timeout
    def redact_message(self, request: HttpRequest, conversation_id: uuid.UUID, message_id: uuid.UUID) -> HttpResponse:
        """Show the confirmation, or redact and redirect to the transcript. Neither shows any text."""
        if not (self.has_view_permission(request) and may_redact(request)):
            raise PermissionDenied
        found = Message.objects.using(live_database()).filter(pk=message_id, conversation_id=conversation_id)
        message = found.only("role", "status", "created_at", "conversation").first()
        if message is None:
            raise Http404
        if "confirmed" in request.POST and not message.is_live:
            try:
                reason = request.POST.get("reason", "").strip()
                redact(message_id, request.user, terms="terms" in request.POST, reason=storable(reason)[:255])
            except StillLiveError:
                message.status = "streaming"
            else:
                log_change(request, [conversation_id], _("Redacted the message {id}.").format(id=message_id))
                self.message_user(request, _("The message is redacted."), messages.SUCCESS)
                return self._redirect_to_transcript(request, message)
        if message.is_live:
            text = _("The reply is still being written. Stop it before you redact it.")
            self.message_user(request, text, messages.ERROR)
            return self._redirect_to_transcript(request, message)
        return self._confirmation(request, message)

    def _redirect_to_transcript(self, request: HttpRequest, message: Message) -> HttpResponse:
        return HttpResponseRedirect(self._url(request, message))

    def _url(self, request: HttpRequest, message: Message) -> str:
        query = list_query(request)
        return transcript_url(message.conversation_id, message.pk, site=self.admin_site.name, **query)

    def _confirmation(self, request: HttpRequest, message: Message) -> HttpResponse:
        comments = Feedback.objects.using(live_database()).filter(message=message).exclude(comment="")
        context = {
            "title": _("Redact a message"),
            "message": message,
            "conversation": Conversation(pk=message.conversation_id),
            "back": request.POST.get("back", ""),
            "list_filters": list_query(request).get("_changelist_filters", ""),
            "cancel": self._url(request, message),
            "comments": comments.count(),
            # Their number would reveal something about the text.
            "passages_form": passages_form(request, message) if may_read(request) else None,
            "searches": searches_quoting_message(message).count() if may_read(request) else None,
        }
        return render_page(self, request, "redact_confirmation", context)
