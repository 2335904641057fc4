"""Following and stopping a live reply as staff, with the API's own reader, at addresses of the admin.

Staff who follow a reply do not keep it alive: it ends as usual after its owner has disconnected.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from streaming_chat.accounts.owners import user_key
from streaming_chat.accounts.permissions import with_renewed_user
from streaming_chat.db.alias import live_database
from streaming_chat.engine.access_guard import Access
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import AccessRecord, LiveReply, Message
from streaming_chat.privacy.audit import record
from streaming_chat.rendering.element import WORDS
from streaming_chat.rendering.ending_sentences import staff_sentences
from streaming_chat.views.api.event_ids import requested_position
from streaming_chat.views.api.reply_answers import ReplyAnswer, answer_with_reply, encoder_for, require_reader_slot
from streaming_chat.views.api.responses import handler_for, private, require, require_found
from streaming_chat.views.api.streaming import answer_error_in_json, reply_view

from .history import log_change
from .pages import retry_on_lock_timeout, transcript_url
from .review_bar import list_query

_FOLLOW_PERMISSIONS = ("streaming_chat.view_conversation", "streaming_chat.view_transcript")
_MARKDOWN_WORDS = ("copy", "copied", "code", "table", "image", "done", "not_done", "format", "not_formatted")


def follow_view(site: admin.AdminSite) -> Callable[..., Any]:
    """Return the view that streams a reply to staff who may read it, from a position as the API does."""

    def prepare(request: HttpRequest, object_id: uuid.UUID, message_id: uuid.UUID) -> ReplyAnswer | HttpResponse:
        handler_for(request, {"GET": _follow})
        if not site.has_permission(request):
            raise APIError(401, "not_signed_in")
        return _follow(site, request, object_id, message_id)

    return reply_view(prepare, answer_error_in_json)


def _follow(
    site: admin.AdminSite, request: HttpRequest, conversation_id: uuid.UUID, message_id: uuid.UUID
) -> ReplyAnswer | HttpResponse:
    require(request.user.has_perms(_FOLLOW_PERMISSIONS))
    encoder = encoder_for(request)
    position = requested_position(request, message_id)
    require_found(_reply(conversation_id, message_id))
    if position is None:
        return private(HttpResponse(status=204))
    if request.method == "HEAD":
        return HttpResponse(content_type=encoder.content_type)
    access = Access(key=user_key(request.user), is_owner=False, may_read=partial(_may_still_follow, site, request))
    require_reader_slot(access.key)
    # Also after a lost connection: a position only says how far the client has read.
    record(AccessRecord.Kind.FOLLOW, request.user, conversation=conversation_id, message=message_id)
    return answer_with_reply(message_id, None, access, position=position, encoder=encoder)


def live_words() -> str:
    """Return the texts that the script of a live reply inserts, as JSON: those of Markdown, and how a reply ends."""
    return json.dumps({name: str(WORDS[name]) for name in _MARKDOWN_WORDS} | staff_sentences())


def _may_still_follow(site: admin.AdminSite, request: HttpRequest) -> bool:
    """Return whether a user of staff may read on, as the database has them now."""
    renewed = with_renewed_user(request, request.user)
    return renewed is not None and site.has_permission(renewed) and renewed.user.has_perms(_FOLLOW_PERMISSIONS)


@retry_on_lock_timeout
def stop_view(model_admin: Any, request: HttpRequest, object_id: uuid.UUID, message_id: uuid.UUID) -> HttpResponse:
    """Stop a reply and redirect to it. The first stop wins; a reply that has ended stays as it is.

    Raises PermissionDenied, Http404.
    """
    if not request.user.has_perms(("streaming_chat.view_conversation", "streaming_chat.stop_reply")):
        raise PermissionDenied
    if _reply(object_id, message_id) is None:
        raise Http404
    if LiveReply.objects.using(live_database()).filter(pk=message_id).exists():
        record(AccessRecord.Kind.STOP, request.user, conversation=object_id, message=message_id)
        runner.request_stop(message_id, "staff")
        log_change(request, [object_id], _("Stopped the reply {id}.").format(id=message_id))
        messages.success(request, _("The reply is being stopped."))
    else:
        messages.info(request, _("The reply had ended already."))
    return HttpResponseRedirect(transcript_url(object_id, message_id, **list_query(request)))


def _reply(conversation_id: uuid.UUID, message_id: uuid.UUID) -> Message | None:
    replies = Message.objects.using(live_database()).filter(role=Message.Role.ASSISTANT, conversation=conversation_id)
    return replies.filter(pk=message_id).only("pk").first()
