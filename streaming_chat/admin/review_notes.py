"""The page with the history of a review's notes, for reviewers. Opening it has an access record, as a transcript has."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from streaming_chat.models import AccessRecord
from streaming_chat.privacy.audit import record
from streaming_chat.review.notes import versions
from streaming_chat.review.rows import conversation_rows

from .pages import render_page, retry_on_lock_timeout
from .review_bar import may_review

# Notes have up to 20,000 characters.
_MAX_VERSIONS = 50


@retry_on_lock_timeout
def notes_view(model_admin: Any, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Show the newest versions of the notes. Raises PermissionDenied for users who may not review."""
    if not may_review(request):
        raise PermissionDenied
    conversation = conversation_rows(pk).only("pk").first()
    if conversation is None:
        raise Http404
    record(AccessRecord.Kind.OPEN, request.user, conversation=pk)
    found = list(versions(pk)[: _MAX_VERSIONS + 1])
    context = {
        "title": _("History of the notes"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/review.css"]}),
        "conversation": conversation,
        "versions": found[:_MAX_VERSIONS],
        "most": _MAX_VERSIONS if len(found) > _MAX_VERSIONS else 0,
    }
    return render_page(model_admin, request, "review_notes", context)
