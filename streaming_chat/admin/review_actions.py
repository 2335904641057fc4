"""Actions of the list on several reviews. Each conversation is a transaction of its own.

The action on all pages of the list first shows how many conversations it applies to; its confirmation names them.
"""

from __future__ import annotations

import uuid
from functools import wraps
from typing import Any, Protocol

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from streaming_chat.models import Conversation
from streaming_chat.review import reviews
from streaming_chat.review.reopening import reopen

from .history import log_change
from .pages import render_page

# Two pages of the list.
MAX_SELECTED = 100


class _Action(Protocol):
    __name__: str

    def __call__(self, request: HttpRequest, selected: list[uuid.UUID]) -> None: ...


def _confirmed(action: _Action) -> Any:
    """Decorator of an action on ids: show a confirmation first if it applies to all pages of the list."""

    @wraps(action)
    def wrapper(model_admin: Any, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True)[: MAX_SELECTED + 1])
        is_over = len(ids) > MAX_SELECTED
        if request.POST.get("select_across") == "1":
            return _confirmation(model_admin, request, action.__name__, ids[:MAX_SELECTED], is_over=is_over)
        if is_over:
            text = _("You can select at most {count} conversations. The first {count} were used.")
            messages.warning(request, text.format(count=MAX_SELECTED))
        action(request, ids[:MAX_SELECTED])
        return None

    return wrapper


def _confirmation(
    model_admin: Any, request: HttpRequest, name: str, selected: list[uuid.UUID], *, is_over: bool
) -> HttpResponse:
    """Show how many conversations an action applies to. Only these are in its form, whatever the list has by then."""
    context = {
        "title": next(each.short_description for each in ACTIONS if each.__name__ == name),
        "action": name,
        "selected": selected,
        "checkbox": ACTION_CHECKBOX_NAME,
        "is_over": is_over,
        "url": request.get_full_path(),
    }
    return render_page(model_admin, request, "review_confirmation", context)


@admin.action(permissions=["review"], description=gettext_lazy("Mark as reviewed"))
@_confirmed
def mark_done(request: HttpRequest, selected: list[uuid.UUID]) -> None:
    """Mark the selected conversations as reviewed as they are."""
    done = [pk for pk in selected if reviews.finish_as_is(pk, request.user)]
    log_change(request, done, _("Finished the review."))
    text = ngettext("{count} conversation is done.", "{count} conversations are done.", len(done))
    _show_result(request, text.format(count=len(done)), skipped=len(selected) - len(done))


@admin.action(permissions=["review"], description=gettext_lazy("Assign to me"))
@_confirmed
def assign_to_me(request: HttpRequest, selected: list[uuid.UUID]) -> None:
    """Take the selected conversations."""
    taken = [pk for pk in selected if reviews.take(pk, request.user)]
    log_change(request, taken, _("Took the conversation for review."))
    count = len(taken)
    text = ngettext("{count} conversation is assigned to you.", "{count} conversations are assigned to you.", count)
    _show_result(request, text.format(count=count), skipped=len(selected) - count)


@admin.action(permissions=["review"], description=gettext_lazy("Reopen finished reviews"))
@_confirmed
def reopen_reviews(request: HttpRequest, selected: list[uuid.UUID]) -> None:
    """Return the selected conversations to the queues, if their reviews are finished."""
    reopened = [pk for pk in selected if reopen(pk, request.user)]
    log_change(request, reopened, _("Reopened the review."))
    text = ngettext("{count} review is reopened.", "{count} reviews are reopened.", len(reopened))
    messages.info(request, text.format(count=len(reopened)))
    if skipped := len(selected) - len(reopened):
        text = ngettext(
            "{count} was skipped: its review is not finished.",
            "{count} were skipped: their reviews are not finished.",
            skipped,
        )
        messages.warning(request, text.format(count=skipped))


ACTIONS = (mark_done, assign_to_me, reopen_reviews)


def _show_result(request: HttpRequest, text: str, *, skipped: int) -> None:
    messages.info(request, text)
    if skipped:
        text = ngettext(
            "{count} was skipped: it is done, or another reviewer has it.",
            "{count} were skipped: they are done, or another reviewer has them.",
            skipped,
        )
        messages.warning(request, text.format(count=skipped))
