"""Filters of the lists. Their choices need no query, and their rows are found by an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.conf import conf
from streaming_chat.db.uuid7 import first_of
from streaming_chat.exceptions import ENDING_CODES
from streaming_chat.models import Feedback, LiveReply, Message, ReviewState, Status
from streaming_chat.protocol import endings
from streaming_chat.review.reviews import release_expired

# A list ends after a thousand rows (see lists.py), so newer rows suffice. All of 8,000 ratings took 0.2 s on SQLite.
_NEWEST = 2_000


class _ChoiceFilter(admin.SimpleListFilter):
    """A filter that changes nothing until a choice is made. options: values and labels of the choices."""

    options: Sequence[tuple[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """Return the choices."""
        return self.options

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the choice, if there is one."""
        value = self.value()
        return self.choose(queryset, value, request) if value else queryset

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of a choice, or all of them for a value that is none."""
        raise NotImplementedError


class OwnerFilter(_ChoiceFilter):
    """Whether the owner has an account. Each kind of owner is found by the column that has an index for it."""

    title = _("owner")
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
    """One model, or with `alias:*` all models of a provider. The choices are the models that are offered now."""

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return STREAMING_CHAT_MODELS."""
        return [(model, model) for model in conf.STREAMING_CHAT_MODELS]

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        if queryset.model is Message:
            queryset = queryset.exclude(model="")
        if value.endswith(":*"):
            return queryset.filter(model__startswith=value[:-1])
        return queryset.filter(model=value)


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
        newest = Feedback.objects.filter(value=self._VALUES[value]).order_by("-pk")[:_NEWEST]
        return queryset.filter(pk__in=newest.values(column))


class LiveFilter(_ChoiceFilter):
    """Whether a reply is live."""

    title = _("now")
    parameter_name = "live"
    options = (("1", _("being written")),)

    def choose(self, queryset: QuerySet[Any], value: str, request: HttpRequest) -> QuerySet[Any]:
        column = "message" if queryset.model is Message else "conversation"
        return queryset.filter(pk__in=LiveReply.objects.values(column)) if value == "1" else queryset


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
        return queryset.filter(pk__in=broken.order_by("-pk").values("conversation")[:_NEWEST])


class ReplyStatusFilter(_ChoiceFilter):
    """How a reply ended. Live replies have a filter of their own."""

    title = _("status")
    parameter_name = "status"
    options = tuple(choice for choice in Status.choices if choice[0] != Status.STREAMING)

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


CONVERSATION_FILTERS = (ReviewFilter, LiveFilter, FeedbackFilter, ErrorFilter, OwnerFilter, ModelFilter)
MESSAGE_FILTERS = (
    ReplyStatusFilter, EndReasonFilter, ErrorFilter, LiveFilter, FeedbackFilter, ModelFilter, MessageDateFilter,
)  # fmt: skip
