"""Reviewing in the admin: saving the form of the review bar, "Next", and "Undo".

All of it needs `view_conversation`, `view_transcript` and `review_conversation`. Everything works without JavaScript, which
only adds keyboard shortcuts.
"""

from __future__ import annotations

import re
import uuid
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.translation import gettext as _

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_busy
from streaming_chat.models import AccessRecord, Conversation, Review
from streaming_chat.privacy.audit import record
from streaming_chat.review import queues, reviews
from streaming_chat.review.reopening import reopen
from streaming_chat.review.reviews import StaleReviewError

from .history import log_change
from .pages import as_uuid, lock_timeout_page, post_only, render_page, retry_on_lock_timeout, transcript_url
from .review_bar import may_review, persistent_query, queue_of
from .review_form import ReviewForm, clean_text

# Fields of the form that the page about a conflict replaces.
_REPLACED = frozenset({"csrfmiddlewaretoken", "version", "notes", "base", "action"})


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of reviewing, which take POST."""

    def guarded(view: Any) -> Any:
        return post_only(model_admin, partial(retry_on_lock_timeout(view), model_admin))

    return [
        path("review/next/", guarded(next_view), name="streaming_chat_conversation_review_next"),
        path("<uuid:pk>/review/", guarded(review_view), name="streaming_chat_conversation_review"),
        path("<uuid:pk>/review/undo/", guarded(undo_view), name="streaming_chat_conversation_review_undo"),
    ]


def next_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Take the next conversation of a queue and redirect to it."""
    _require_permission(request)
    return _redirect_to_next(request, as_uuid(request.POST.get("leaving", "")), _version(request.POST.get("done", "")))


def undo_view(model_admin: Any, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Reopen the review that "Done and next" has finished, release the conversation that it opened, and redirect back."""
    _require_permission(request)
    _require_conversation(pk)
    if (version := _version(request.POST.get("version", ""))) is None:
        raise BadRequest("version must be a number.")
    if opened := as_uuid(request.POST.get("opened", "")):
        reviews.release(opened, request.user)
    try:
        is_reopened = reopen(pk, request.user, version=version, takes=True)
    except StaleReviewError:
        is_reopened = False
    _show_reopened(request, pk, is_reopened)
    return HttpResponseRedirect(transcript_url(pk, queue=queue_of(request.POST).value))


def _version(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def review_view(model_admin: Any, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Save the form of the review bar and redirect."""
    _require_permission(request)
    _require_conversation(pk)
    try:
        form = ReviewForm.parse(request.POST)
        is_saved = form.save(pk, request.user)
    except StaleReviewError as error:
        return _conflict_page(model_admin, request, pk, error.review)
    except Conversation.DoesNotExist:
        raise Http404 from None
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return _answer(model_admin, request, pk, form, is_saved=is_saved)


def _answer(model_admin: Any, request: HttpRequest, pk: uuid.UUID, form: ReviewForm, *, is_saved: bool) -> HttpResponse:
    """Redirect after a form was saved. is_saved: what `ReviewForm.save` returned."""
    if form.is_finished and is_saved:
        log_change(request, [pk], _("Finished the review."))
    if form.is_finished and not is_saved:
        text = _("Something was added while you were reading. Your notes are saved. Read it, then submit again.")
        messages.warning(request, text)
        return _redirect_to_newest(request, pk)
    if form.action in ("next", "done_next"):
        return _redirect_to_next_after_save(
            model_admin, request, pk, form.snapshot.version + 1 if form.is_finished else None
        )
    if form.action == "reopen":
        _show_reopened(request, pk, is_saved)
    elif form.action == "release":
        _show_released(request, is_saved)
    elif form.is_finished:
        messages.success(request, _("The conversation is reviewed."))
    elif not form.pressed:
        messages.success(request, _("Saved."))
    return _redirect_back(request, pk, form.pressed)


def _show_reopened(request: HttpRequest, pk: uuid.UUID, is_reopened: bool) -> None:
    if is_reopened:
        log_change(request, [pk], _("Reopened the review."))
        messages.success(request, _("The review is reopened, and the conversation is assigned to you."))
        return
    text = _("Nothing was reopened: another reviewer changed the review, or something was added to the conversation.")
    messages.warning(request, text)


def _show_released(request: HttpRequest, is_released: bool) -> None:
    if is_released:
        messages.success(request, _("The conversation is released. Other reviewers can take it now."))
    else:
        messages.warning(request, _("Nothing was released: the conversation is not assigned to you."))


def _show_undo(request: HttpRequest, pk: uuid.UUID, version: int, opened: uuid.UUID | None) -> None:
    """Say that a review is finished, with a form that undoes it. version: of the review. opened: what came next."""
    context = {
        "text": _("The conversation is reviewed."),
        "url": reverse("admin:streaming_chat_conversation_review_undo", args=[pk]),
        "version": version,
        "queue": queue_of(request.POST).value,
        "opened": opened,
    }
    template = "admin/streaming_chat/conversation/review_undo.html"
    messages.success(request, render_to_string(template, context, request))


def _require_conversation(pk: uuid.UUID) -> None:
    if not Conversation.objects.using(live_database()).filter(pk=pk).exists():
        raise Http404


def _require_permission(request: HttpRequest) -> None:
    if not may_review(request):
        raise PermissionDenied


def _conflict_page(model_admin: Any, request: HttpRequest, pk: uuid.UUID, review: Review) -> HttpResponse:
    """Show both notes. Nothing was overwritten, and the form holds what the reviewer typed."""
    record(AccessRecord.Kind.OPEN, request.user, conversation=pk)
    # The version is the current one, since the page shows the current notes; the snapshot of the messages stays.
    pairs = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
    context = {
        "title": _("Another reviewer was faster"),
        "review": review,
        "action": request.POST.get("action", "save"),
        "mine": clean_text(request.POST, "notes"),
        "hidden": [pair for pair in pairs if pair[0] not in _REPLACED],
        "max_notes": reviews.MAX_NOTES_CHARS,
        "url": reverse("admin:streaming_chat_conversation_review", args=[pk]),
        "back": _transcript_url(request, pk),
    }
    return render_page(model_admin, request, "review_conflict", context, status=409)


def _redirect_to_next_after_save(
    model_admin: Any, request: HttpRequest, leaving: uuid.UUID, done: int | None
) -> HttpResponse:
    """Redirect to the next conversation. On a lock timeout only that is retried, since the form is saved."""
    try:
        return _redirect_to_next(request, leaving, done)
    except OperationalError as error:
        if not is_busy(error):
            raise
        form = [("queue", queue_of(request.POST).value), ("leaving", str(leaving)), ("done", str(done or ""))]
        url = reverse("admin:streaming_chat_conversation_review_next")
        return lock_timeout_page(model_admin, request, url=url, form=form)


def _redirect_to_next(request: HttpRequest, leaving: uuid.UUID | None, done: int | None) -> HttpResponse:
    """Take the next conversation. done: version of the review of the one that was left, if it was finished."""
    queue = queue_of(request.POST)
    found = reviews.take_next(queue, request.user, leaving=leaving)
    if leaving and done:
        _show_undo(request, leaving, done, found)
    if found:
        return HttpResponseRedirect(transcript_url(found, queue=queue.value))
    messages.info(request, _("This is the end of the queue “{queue}”.").format(queue=queue.label))
    if queues.unreviewed(queue).exists():
        messages.info(request, _("Conversations that you skipped come again half an hour later."))
    return HttpResponseRedirect(reverse("admin:streaming_chat_conversation_changelist"))


def _redirect_to_newest(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    return HttpResponseRedirect(transcript_url(pk, reviews.newest_message(pk), queue=queue_of(request.POST).value))


def _redirect_back(request: HttpRequest, pk: uuid.UUID, message: uuid.UUID | None) -> HttpResponse:
    fragment = f"#m-{message}" if message else ""
    return HttpResponseRedirect(f"{_transcript_url(request, pk)}{fragment}")


def _transcript_url(request: HttpRequest, pk: uuid.UUID) -> str:
    """Return the address that the transcript was opened at, with the queue that the form names."""
    query = persistent_query(QueryDict(request.POST.get("back", "")))
    query["queue"] = queue_of(request.POST).value
    return reverse("admin:streaming_chat_conversation_change", args=[pk], query=query)
