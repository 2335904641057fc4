"""Reviewing in the admin: what the bar on a transcript does, Next, and what is done to several conversations at once.

Whoever judges may read: all of it takes `view_conversation`, `view_transcript` and `review_conversation`. Everything works
without the script, which adds the keys.
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
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from streaming_chat.db.alias import live_database
from streaming_chat.db.errors import is_busy
from streaming_chat.models import AccessRecord, Conversation, Review
from streaming_chat.privacy.accesses import record
from streaming_chat.protocol.text import storable
from streaming_chat.review import reviews
from streaming_chat.review.reviews import Opinion, Seen, Stale

from .decorators import posted
from .lock_timeouts import busy, patient
from .review_bar import kept, may_review, queue_of
from .searches import as_uuid

# Two pages of the list: each conversation is a transaction of its own.
MAX_AT_ONCE = 100


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of reviewing, which take POST."""

    def guarded(view: Any) -> Any:
        return posted(model_admin, partial(patient(view), model_admin))

    return [
        path("review/next/", guarded(_next), name="streaming_chat_conversation_review_next"),
        path("<uuid:pk>/review/", guarded(_judge), name="streaming_chat_conversation_review"),
    ]


@admin.action(permissions=["review"], description=gettext_lazy("Mark as reviewed"))
def mark_done(model_admin: Any, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
    """Say of the chosen ones that they were reviewed as they are."""
    chosen = _chosen(request, queryset)
    done = sum(reviews.finish_as_is(pk, request.user) for pk in chosen)
    words = ngettext("{count} conversation is done.", "{count} conversations are done.", done)
    _tell(request, words.format(count=done), len(chosen) - done)


@admin.action(permissions=["review"], description=gettext_lazy("Assign to me"))
def assign_to_me(model_admin: Any, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
    """Take the chosen ones."""
    chosen = _chosen(request, queryset)
    taken = sum(reviews.claim(pk, request.user) for pk in chosen)
    words = ngettext("{count} conversation is with you.", "{count} conversations are with you.", taken)
    _tell(request, words.format(count=taken), len(chosen) - taken)


def _chosen(request: HttpRequest, queryset: QuerySet[Conversation]) -> list[uuid.UUID]:
    found = list(queryset.values_list("pk", flat=True)[: MAX_AT_ONCE + 1])
    if len(found) <= MAX_AT_ONCE:
        return found
    messages.warning(request, _("Choose {count} at most: these are the first.").format(count=MAX_AT_ONCE))
    return found[:MAX_AT_ONCE]


def _tell(request: HttpRequest, words: str, left: int) -> None:
    messages.info(request, words)
    if left:
        why = ngettext(
            "{count} was left as it is: it is done, or with another reviewer.",
            "{count} were left as they are: they are done, or with another reviewer.",
            left,
        )
        messages.warning(request, why.format(count=left))


def _next(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Take the next conversation of a queue and lead to it."""
    _demand(request)
    return _to_next(request, as_uuid(request.POST.get("leaving", "")))


def _judge(model_admin: Any, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Save what the form of a transcript says, and lead on."""
    _demand(request)
    if not Conversation.objects.using(live_database()).filter(pk=pk).exists():
        raise Http404
    try:
        said = _Said.read(request.POST)
        said.save(pk, request.user)
    except Stale as stale:
        return _conflict(model_admin, request, pk, stale.review)
    except Conversation.DoesNotExist:
        raise Http404 from None
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if said.is_late:
        messages.warning(
            request, _("Something was added while you read. Your notes are saved; read on, and say again.")
        )
        return _to_newest(request, pk)
    if said.action in ("next", "done_next"):
        return _on_to_next(model_admin, request, pk)
    if said.action == "done":
        messages.success(request, _("The conversation is reviewed."))
    elif not said.marked:
        messages.success(request, _("Saved."))
    return _back(request, pk, said.marked)


def _demand(request: HttpRequest) -> None:
    if not may_review(request):
        raise PermissionDenied


@dataclass
class _Said:
    """What the form of a transcript said. marked: the message whose verdict was pressed. is_late: something came since."""

    action: str
    seen: Seen
    notes: str | None
    opinions: dict[uuid.UUID | None, Opinion]
    marked: uuid.UUID | None = None
    is_late: bool = False

    @classmethod
    def read(cls, form: QueryDict) -> _Said:
        """Raises ValueError for what no page of ours sends."""
        notes = _text(form, "notes")
        if len(notes) > reviews.MAX_NOTES_CHARS:
            raise ValueError(f"notes were wanted of {reviews.MAX_NOTES_CHARS} characters at most, got {len(notes)}.")
        action = form.get("action", "save")
        if action not in ("save", "done", "done_next", "next"):
            raise ValueError(f"action was wanted to be save, done, done_next or next, got {action!r:.60}.")
        activity = datetime.fromisoformat(form.get("activity", ""))
        if activity.tzinfo is None:
            raise ValueError("activity was wanted with its time zone.")
        marked, opinions = _opinions(form)
        through = form.get("through")
        return cls(
            action=action,
            seen=Seen(
                version=int(form.get("version", "")),
                activity=activity,
                through=uuid.UUID(through) if through else None,
                needs_attention=bool(form.get("needs_attention")),
            ),
            notes=None if notes == _text(form, "base") else notes,
            opinions=opinions,
            marked=marked,
        )

    def save(self, pk: uuid.UUID, by: Any) -> None:
        """Raises Stale, and ValueError for messages of other conversations."""
        if self.action in ("done", "done_next"):
            self.is_late = not reviews.finish(pk, by, self.seen, self.notes, self.opinions)
        elif self.action == "save" or self.notes is not None:
            reviews.save(pk, by, self.seen, self.notes, self.opinions)
        else:
            # Who goes on to the next does not take this one.
            reviews.judge(pk, by, self.opinions)


def _opinions(form: QueryDict) -> tuple[uuid.UUID | None, dict[uuid.UUID | None, Opinion]]:
    found: dict[uuid.UUID | None, Opinion] = {}
    if "verdict" in form:
        found[None] = Opinion(form.get("verdict"), form.getlist("labels"))
    for message in form.getlist("message"):
        found[uuid.UUID(message)] = Opinion(labels=form.getlist(f"labels-{message}"))
    marked = None
    if "mark" in form:
        message, _colon, verdict = form.get("mark", "").partition(":")
        marked = uuid.UUID(message)
        found[marked] = Opinion(verdict, found[marked].labels if marked in found else None)
    return marked, found


def _text(form: QueryDict, name: str) -> str:
    # Browsers send line breaks as CRLF.
    return storable(form.get(name, "").replace("\r\n", "\n").strip("\n"))


def _conflict(model_admin: Any, request: HttpRequest, pk: uuid.UUID, review: Review) -> HttpResponse:
    """Answer with both notes; nothing was overwritten, and what was typed is in the form again."""
    record(AccessRecord.Kind.OPEN, request.user, conversation=pk)
    # As it is now: its version is what the form has seen of the review, and what it had seen of the messages stays.
    form = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
    hidden = [pair for pair in form if pair[0] not in _REPLACED]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Another reviewer was faster"),
        "review": review,
        "action": request.POST.get("action", "save"),
        "mine": _text(request.POST, "notes"),
        "hidden": hidden,
        "max_notes": reviews.MAX_NOTES_CHARS,
        "url": reverse("admin:streaming_chat_conversation_review", args=[pk]),
        "back": _transcript(request, pk),
    }
    request.current_app = model_admin.admin_site.name
    template = "admin/streaming_chat/conversation/review_conflict.html"
    return TemplateResponse(request, template, context, status=409)


_REPLACED = frozenset({"csrfmiddlewaretoken", "version", "notes", "base", "action"})


def _on_to_next(model_admin: Any, request: HttpRequest, leaving: uuid.UUID) -> HttpResponse:
    """Lead on from what is saved: where somebody is in the way of the next, only that is tried again."""
    try:
        return _to_next(request, leaving)
    except OperationalError as error:
        if not is_busy(error):
            raise
        form = [("queue", queue_of(request.POST).value), ("leaving", str(leaving))]
        return busy(model_admin, request, url=reverse("admin:streaming_chat_conversation_review_next"), form=form)


def _to_next(request: HttpRequest, leaving: uuid.UUID | None) -> HttpResponse:
    queue = queue_of(request.POST)
    found = reviews.claim_next(queue, request.user, besides=leaving)
    if found:
        url = reverse("admin:streaming_chat_conversation_change", args=[found], query={"queue": queue.value})
        return HttpResponseRedirect(url)
    messages.info(request, _("This is the end of the queue “{queue}”.").format(queue=queue.label))
    return HttpResponseRedirect(reverse("admin:streaming_chat_conversation_changelist"))


def _to_newest(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    newest = reviews.newest(pk)
    query = {"queue": queue_of(request.POST).value, "message": newest}
    url = reverse("admin:streaming_chat_conversation_change", args=[pk], query=query)
    return HttpResponseRedirect(f"{url}#m-{newest}")


def _back(request: HttpRequest, pk: uuid.UUID, message: uuid.UUID | None) -> HttpResponse:
    fragment = f"#m-{message}" if message else ""
    return HttpResponseRedirect(f"{_transcript(request, pk)}{fragment}")


def _transcript(request: HttpRequest, pk: uuid.UUID) -> str:
    """Return the address of the transcript as it was asked for, in the queue that the form names."""
    query = kept(QueryDict(request.POST.get("back", "")))
    query["queue"] = queue_of(request.POST).value
    return reverse("admin:streaming_chat_conversation_change", args=[pk], query=query)
