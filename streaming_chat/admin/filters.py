"""Filters of the lists. Their choices need no query, and their rows are found by an index."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.conf import conf
from streaming_chat.db.uuid7 import first_of
from streaming_chat.exceptions import ENDING_CODES
from streaming_chat.models import NOBODY, Conversation, Feedback, LiveReply, Message, ReviewState, Status, ToolCall
from streaming_chat.protocol import endings
from streaming_chat.protocol.storable_text import storable
from streaming_chat.review.reviews import release_expired
from streaming_chat.usage.used_models import used_models, used_tools

from .form_filters import DateRange, DateRangeFilter, MetadataFilter

# A list ends after a thousand rows (see lists.py), so newer rows suffice. All of 8,000 ratings took 0.2 s on SQLite.
NEWEST = 2_000


def _newest(rows: QuerySet[Any], request: HttpRequest, message: str = "pk") -> QuerySet[Any]:
    """Return the newest rows of messages, one more than NEWEST, or of those before the end of the list's range of dates.

    message: the column with the message's id.
    """
    return before_end(rows, request, message).order_by("-pk")[: NEWEST + 1]


def before_end(rows: QuerySet[Any], request: HttpRequest, column: str) -> QuerySet[Any]:
    """Return the rows from before the end of the list's range of dates, or all of them if it has none.

    column: with the id of a message or a conversation, which begins with its time.
    """
    end = DateRange.of(request.GET.dict()).end
    return rows.filter(**{f"{column}__lt": first_of(end.timestamp())}) if end else rows


class _ChoiceFilter(admin.SimpleListFilter):
    """A filter that changes nothing until a choice is made. options: values and labels of the choices."""

    options: Sequence[tuple[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """Return the choices."""
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the choice, if there is one."""
        value = self.value()
        return self.choose(queryset, storable(value), request) if value else queryset

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of a choice, or all of them for a value that is none."""
        raise NotImplementedError


class OwnerFilter(_ChoiceFilter):
    """Whether the owner has an account. Each kind of owner is found by the column that has an index for it."""

    title = _("kind of owner")
    parameter_name = "owned_by"
    options = (("user", _("user")), ("visitor", _("visitor")), ("erased", _("erased")))

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        match value:
            case "user":
                return queryset.filter(owner__isnull=False)
            case "visitor":
                # Without `owner=None`: SQLite would use that index, and sort all the rows (40,000: 0.4 s).
                return queryset.filter(owner_key__startswith="v:")
            case "erased":
                return queryset.filter(owner=None, owner_key="")
        return queryset


class ReviewFilter(_ChoiceFilter):
    """The state of the review. Each choice has an index."""

    title = _("review")
    parameter_name = "review"
    options = (("attention", _("needs attention")), *ReviewState.choices, ("mine", _("in review by me")))

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if value in (ReviewState.UNREVIEWED, ReviewState.IN_REVIEW, "mine"):
            # "Unreviewed, or taken long ago" has no index, so the expired ones are released first.
            release_expired()
        match value:
            case "attention":
                return queryset.filter(needs_attention=True)
            case "mine":
                return queryset.filter(review_state=ReviewState.IN_REVIEW, review__reviewer=request.user)
            case state if state in ReviewState.values:
                return queryset.filter(review_state=state)
        return queryset


class ModelFilter(_ChoiceFilter):
    """The model of a reply, or of any reply of a conversation; with `alias:*`, all models of a provider.

    The choices are all models that have ever written a reply, and STREAMING_CHAT_MODELS.
    """

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(model, model) for model in sorted({*used_models(), *conf.STREAMING_CHAT_MODELS})]

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if value.endswith(":*"):
            return _of_replies(queryset).filter(model__startswith=value[:-1])
        if queryset.model is Message:
            return _of_replies(queryset).filter(model=value)
        return queryset.filter(_used(value, request))


def _of_replies(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Repeat the condition of the partial index of messages, which SQLite does not infer."""
    return queryset.exclude(model="") if queryset.model is Message else queryset


def _used(model: str, request: HttpRequest) -> Q:
    """Return the condition of conversations with a reply by this model.

    Of a model with more than NEWEST replies, those are the conversations that are set to it, and of its newest replies.
    The newest are read first: a single query for both sorts all conversations of the model.
    """
    replies = _newest(Message.objects.exclude(model="").filter(model=model), request)
    columns = ("conversation", "conversation__model", "conversation__last_activity")
    found: list[tuple[uuid.UUID, str, datetime]] = list(replies.values_list(*columns))
    if len(found) <= NEWEST:
        return Q(pk__in={pk for pk, _current, _time in found})
    others = {pk: last for pk, current, last in found if current != model}
    return _set_to_or_among(model, others) if others else Q(model=model)


def _set_to_or_among(model: str, others: dict[uuid.UUID, datetime]) -> Q:
    """Return the condition of conversations that are set to a model or are one of these, given with their last activity.

    The databases go through all conversations from the newest on. With the newest time of both, they begin there, which
    matters for a model that is no longer in use.
    """
    chosen = Conversation.objects.filter(model=model).order_by("-last_activity")
    newest = max(
        *others.values(), *chosen.values_list("last_activity", flat=True)[:1], datetime.min.replace(tzinfo=UTC)
    )
    return Q(last_activity__lte=newest) & (Q(model=model) | Q(pk__in=others))


class FeedbackFilter(_ChoiceFilter):
    """The ratings of a reply, or of any reply of a conversation: by the rows of feedback, which are few."""

    title = _("feedback")
    parameter_name = "feedback"
    options = (("bad", _("rated bad")), ("good", _("rated good")))
    _VALUES = {"good": 1, "bad": -1}

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if value not in self._VALUES:
            return queryset
        column = "message" if queryset.model is Message else "message__conversation"
        rated = Feedback.objects.filter(value=self._VALUES[value])
        return queryset.filter(pk__in=_newest(rated, request, "message").values(column))


class LiveFilter(_ChoiceFilter):
    """Whether a reply is being written, or waits for an answer."""

    title = _("live replies")
    parameter_name = "live"
    options = (("1", _("Live now")), ("waiting", _("Waiting for an answer")))

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if value not in dict(self.options):
            return queryset
        is_waiting = Q(worker=NOBODY)
        live = LiveReply.objects.filter(is_waiting if value == "waiting" else ~is_waiting)
        return queryset.filter(pk__in=live.values("message" if queryset.model is Message else "conversation"))


class ToolFilter(_ChoiceFilter):
    """The tools of the site that a reply, or any reply of a conversation, has used. A call that was not run is no use."""

    title = _("used tool")
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(name, name) for name in used_tools()]

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        column = "message" if queryset.model is Message else "message__conversation"
        # With the condition of the partial index. Without a digest, a name may be text.
        calls = ToolCall.objects.exclude(digest="").filter(name=value)
        return queryset.filter(pk__in=_newest(calls, request, "message").values(column))


class ErrorFilter(_ChoiceFilter):
    """The error of a reply, or of any reply of a conversation."""

    title = _("error")
    parameter_name = "error"
    options = tuple((code, code) for code in ENDING_CODES)

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        # With the condition of the partial index: SQLite uses it only if the query repeats it.
        if queryset.model is Message:
            return queryset.exclude(error_code="").filter(error_code=value)
        broken = Message.objects.exclude(error_code="").filter(error_code=value)
        return queryset.filter(pk__in=_newest(broken, request).values("conversation"))


class ReplyStatusFilter(_ChoiceFilter):
    """How a reply ended. Live replies have a filter of their own."""

    title = _("status")
    parameter_name = "status"
    options = tuple(choice for choice in Status.choices if choice[0] not in endings.LIVE)

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        return queryset.filter(status=value, role=Message.Role.ASSISTANT)


class EndReasonFilter(_ChoiceFilter):
    """Why a reply ended."""

    title = _("end reason")
    parameter_name = "reason"
    options = tuple((reason, reason) for reason in endings.END_REASONS)

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        return queryset.exclude(end_reason="").filter(end_reason=value)


class MessageDateFilter(_ChoiceFilter):
    """When a message was created, by its id, since there is no index of the time alone."""

    title = _("date")
    parameter_name = "days"
    options = (("1", _("past day")), ("7", _("past 7 days")), ("30", _("past 30 days")), ("90", _("past 90 days")))

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if value not in dict(self.options):
            return queryset
        since = timezone.now() - timedelta(days=int(value))
        return queryset.filter(pk__gte=first_of(since.timestamp()))


class DeletionFilter(_ChoiceFilter):
    """Whether the owner has deleted a conversation. The deleted ones have an index."""

    title = _("deletion")
    parameter_name = "deleted"
    options = (("1", _("deleted by their owners")), ("0", _("not deleted")))

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        return queryset.filter(deleted_at__isnull=value == "0") if value in ("0", "1") else queryset


CONVERSATION_FILTERS = (
    ReviewFilter, LiveFilter, FeedbackFilter, ErrorFilter, OwnerFilter, ModelFilter, ToolFilter, DeletionFilter,
)  # fmt: skip
CONVERSATION_FORMS = (DateRangeFilter, MetadataFilter)
MESSAGE_FILTERS = (
    ReplyStatusFilter, EndReasonFilter, ErrorFilter, LiveFilter, FeedbackFilter, ModelFilter, ToolFilter, MessageDateFilter,
)  # fmt: skip
MESSAGE_FORMS = (DateRangeFilter,)


def parameters_of(*filters: Any) -> set[str]:
    """Return the parameters that filters have in the address of a list."""
    names = (getattr(each, "parameters", None) or (each.parameter_name,) for each in filters)
    return {name for some in names for name in some}
