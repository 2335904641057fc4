"""Reviewing in the admin: the form of the review bar, "Next", and actions on several conversations of the list.

All of it needs `view_conversation`, `view_transcript` and `review_conversation`. Everything works without JavaScript, which
only adds keyboard shortcuts.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_busy
from streaming_chat.models import AccessRecord, Conversation, Review
from streaming_chat.privacy.audit import record
from streaming_chat.protocol.storable_text import storable
from streaming_chat.review import reviews
from streaming_chat.review.reviews import Snapshot, StaleReviewError, VerdictChange

from .pages import as_uuid, lock_timeout_page, post_only, render_page, retry_on_lock_timeout, transcript_url
from .review_bar import may_review, persistent_query, queue_of

# Two pages of the list: each conversation is a transaction of its own.
MAX_SELECTED = 100
_ACTIONS = ("save", "done", "done_next", "next")
# Fields of the form that the page about a conflict replaces.
_REPLACED = frozenset({"csrfmiddlewaretoken", "version", "notes", "base", "action"})


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of reviewing, which take POST."""

    def guarded(view: Any) -> Any:
        return post_only(model_admin, partial(retry_on_lock_timeout(view), model_admin))

    return [
        path("review/next/", guarded(next_view), name="streaming_chat_conversation_review_next"),
        path("<uuid:pk>/review/", guarded(review_view), name="streaming_chat_conversation_review"),
    ]


@admin.action(permissions=["review"], description=gettext_lazy("Mark as reviewed"))
def mark_done(model_admin: Any, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
    """Mark the selected conversations as reviewed as they are."""
    selected = _selected(request, queryset)
    done = sum(reviews.finish_as_is(pk, request.user) for pk in selected)
    text = ngettext("{count} conversation is done.", "{count} conversations are done.", done)
    _show_result(request, text.format(count=done), skipped=len(selected) - done)


@admin.action(permissions=["review"], description=gettext_lazy("Assign to me"))
def assign_to_me(model_admin: Any, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
    """Take the selected conversations."""
    selected = _selected(request, queryset)
    taken = sum(reviews.take(pk, request.user) for pk in selected)
    text = ngettext("{count} conversation is assigned to you.", "{count} conversations are assigned to you.", taken)
    _show_result(request, text.format(count=taken), skipped=len(selected) - taken)


def _selected(request: HttpRequest, queryset: QuerySet[Conversation]) -> list[uuid.UUID]:
    ids = list(queryset.values_list("pk", flat=True)[: MAX_SELECTED + 1])
    if len(ids) > MAX_SELECTED:
        text = _("You can select at most {count} conversations. The first {count} were used.")
        messages.warning(request, text.format(count=MAX_SELECTED))
    return ids[:MAX_SELECTED]


def _show_result(request: HttpRequest, text: str, *, skipped: int) -> None:
    messages.info(request, text)
    if skipped:
        text = ngettext(
            "{count} was skipped: it is done, or another reviewer has it.",
            "{count} were skipped: they are done, or another reviewer has them.",
            skipped,
        )
        messages.warning(request, text.format(count=skipped))


def next_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Take the next conversation of a queue and redirect to it."""
    _require_permission(request)
    return _redirect_to_next(request, as_uuid(request.POST.get("leaving", "")))


def review_view(model_admin: Any, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Save the form of the review bar and redirect."""
    _require_permission(request)
    if not Conversation.objects.using(live_database()).filter(pk=pk).exists():
        raise Http404
    try:
        form = ReviewForm.parse(request.POST)
        is_outdated = not form.save(pk, request.user)
    except StaleReviewError as error:
        return _conflict_page(model_admin, request, pk, error.review)
    except Conversation.DoesNotExist:
        raise Http404 from None
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if is_outdated:
        text = _("Something was added while you were reading. Your notes are saved. Read it, then submit again.")
        messages.warning(request, text)
        return _redirect_to_newest(request, pk)
    if form.action in ("next", "done_next"):
        return _redirect_to_next_after_save(model_admin, request, pk)
    if form.action == "done":
        messages.success(request, _("The conversation is reviewed."))
    elif not form.pressed:
        messages.success(request, _("Saved."))
    return _redirect_back(request, pk, form.pressed)


def _require_permission(request: HttpRequest) -> None:
    if not may_review(request):
        raise PermissionDenied


@dataclass(frozen=True)
class ReviewForm:
    """The form of the review bar.

    notes: None if unchanged. pressed: the message beside which a verdict button was pressed.
    """

    action: str
    snapshot: Snapshot
    notes: str | None
    verdicts: dict[uuid.UUID | None, VerdictChange]
    pressed: uuid.UUID | None = None

    @classmethod
    def parse(cls, data: QueryDict) -> ReviewForm:
        """Return the form. Raises ValueError for data that the app's own pages never send."""
        notes = _clean_text(data, "notes")
        if len(notes) > reviews.MAX_NOTES_CHARS:
            raise ValueError(f"notes must have at most {reviews.MAX_NOTES_CHARS} characters, got {len(notes)}.")
        action = data.get("action", "save")
        if action not in _ACTIONS:
            raise ValueError(f"action must be one of {', '.join(_ACTIONS)}, got {action!r:.60}.")
        pressed, verdicts = _parse_verdicts(data)
        notes_changed = notes != _clean_text(data, "base")
        return cls(action, _parse_snapshot(data), notes if notes_changed else None, verdicts, pressed)

    def save(self, pk: uuid.UUID, by: Any) -> bool:
        """Save the form; False if something was added after the snapshot, so the review is not done.

        Raises StaleReviewError, and ValueError for messages of other conversations.
        """
        if self.action in ("done", "done_next"):
            return reviews.finish(pk, by, self.snapshot, self.notes, self.verdicts)
        if self.action == "save" or self.notes is not None:
            reviews.save(pk, by, self.snapshot, self.notes, self.verdicts)
        else:
            # "Next" does not take the conversation that it leaves.
            reviews.save_verdicts(pk, by, self.verdicts)
        return True


def _parse_snapshot(data: QueryDict) -> Snapshot:
    last_activity = datetime.fromisoformat(data.get("activity", ""))
    if last_activity.tzinfo is None:
        raise ValueError("activity must have a time zone.")
    through = data.get("through")
    return Snapshot(
        version=int(data.get("version", "")),
        last_activity=last_activity,
        through=uuid.UUID(through) if through else None,
        needs_attention=bool(data.get("needs_attention")),
    )


def _parse_verdicts(data: QueryDict) -> tuple[uuid.UUID | None, dict[uuid.UUID | None, VerdictChange]]:
    """Return the message whose verdict button was pressed, and the changes of all verdicts by message."""
    verdicts: dict[uuid.UUID | None, VerdictChange] = {}
    if "verdict" in data:
        verdicts[None] = VerdictChange(data.get("verdict"), data.getlist("labels"))
    for message in data.getlist("message"):
        verdicts[uuid.UUID(message)] = VerdictChange(labels=data.getlist(f"labels-{message}"))
    if "mark" not in data:
        return None, verdicts
    text, _colon, value = data.get("mark", "").partition(":")
    pressed = uuid.UUID(text)
    verdicts[pressed] = VerdictChange(value, verdicts[pressed].labels if pressed in verdicts else None)
    return pressed, verdicts


def _clean_text(data: QueryDict, name: str) -> str:
    # Browsers send line breaks as CRLF.
    return storable(data.get(name, "").replace("\r\n", "\n").strip("\n"))


def _conflict_page(model_admin: Any, request: HttpRequest, pk: uuid.UUID, review: Review) -> HttpResponse:
    """Show both notes. Nothing was overwritten, and the form holds what the reviewer typed."""
    record(AccessRecord.Kind.OPEN, request.user, conversation=pk)
    # The version is the current one, since the page shows the current notes; the snapshot of the messages stays.
    pairs = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
    context = {
        "title": _("Another reviewer was faster"),
        "review": review,
        "action": request.POST.get("action", "save"),
        "mine": _clean_text(request.POST, "notes"),
        "hidden": [pair for pair in pairs if pair[0] not in _REPLACED],
        "max_notes": reviews.MAX_NOTES_CHARS,
        "url": reverse("admin:streaming_chat_conversation_review", args=[pk]),
        "back": _transcript_url(request, pk),
    }
    return render_page(model_admin, request, "review_conflict", context, status=409)


def _redirect_to_next_after_save(model_admin: Any, request: HttpRequest, leaving: uuid.UUID) -> HttpResponse:
    """Redirect to the next conversation. On a lock timeout only that is retried, since the form is saved."""
    try:
        return _redirect_to_next(request, leaving)
    except OperationalError as error:
        if not is_busy(error):
            raise
        form = [("queue", queue_of(request.POST).value), ("leaving", str(leaving))]
        url = reverse("admin:streaming_chat_conversation_review_next")
        return lock_timeout_page(model_admin, request, url=url, form=form)


def _redirect_to_next(request: HttpRequest, leaving: uuid.UUID | None) -> HttpResponse:
    queue = queue_of(request.POST)
    found = reviews.take_next(queue, request.user, leaving=leaving)
    if found:
        return HttpResponseRedirect(transcript_url(found, queue=queue.value))
    messages.info(request, _("This is the end of the queue “{queue}”.").format(queue=queue.label))
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
