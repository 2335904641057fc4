"""Filters of the lists. Their choices need no query, and their rows are found by an index."""

from __future__ import annotations

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

# A list ends after a thousand rows (see pagination.py), so newer rows suffice. All of 8,000 ratings took 0.2 s on SQLite.
_NEWEST = 2_000


class OwnerFilter(admin.SimpleListFilter):
    """Whether the owner has an account."""

    title = _("owner")
    parameter_name = "owned_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds of owners."""
        return [("user", _("user")), ("visitor", _("visitor")), ("erased", _("erased"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the column that has an index for this kind."""
        match self.value():
            case "user":
                return queryset.filter(owner__isnull=False)
            case "visitor":
                # Without `owner=None`: SQLite would use that index, and sort all the rows (40,000: 0.4 s).
                return queryset.filter(owner_key__startswith="v:")
            case "erased":
                return queryset.filter(owner=None, owner_key="")
        return queryset


class ReviewFilter(admin.SimpleListFilter):
    """The state of the review. Each choice has an index."""

    title = _("review")
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states, "needs attention", and "in review by me"."""
        return [("attention", _("needs attention")), *ReviewState.choices, ("mine", _("in review by me"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the choice."""
        if self.value() in (ReviewState.UNREVIEWED, ReviewState.IN_REVIEW, "mine"):
            # "Unreviewed, or taken long ago" has no index, so the expired ones are released first.
            release_expired()
        match self.value():
            case "attention":
                return queryset.filter(needs_attention=True)
            case "mine":
                return queryset.filter(review_state=ReviewState.IN_REVIEW, review__reviewer=request.user)
            case state if state in ReviewState.values:
                return queryset.filter(review_state=state)
        return queryset


class ModelFilter(admin.SimpleListFilter):
    """The models that are offered now."""

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return STREAMING_CHAT_MODELS."""
        return [(model, model) for model in conf.STREAMING_CHAT_MODELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by one model, or with `alias:*` by all models of a provider."""
        model = self.value()
        if not model:
            return queryset
        if queryset.model is Message:
            queryset = queryset.exclude(model="")
        if model.endswith(":*"):
            return queryset.filter(model__startswith=model[:-1])
        return queryset.filter(model=model)


class FeedbackFilter(admin.SimpleListFilter):
    """The ratings of a reply, or of any reply of a conversation."""

    title = _("feedback")
    parameter_name = "feedback"
    _VALUES = {"good": 1, "bad": -1}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return "bad" and "good"."""
        return [("bad", _("rated bad")), ("good", _("rated good"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the feedback rows, which are few."""
        value = self._VALUES.get(self.value() or "")
        if value is None:
            return queryset
        column = "message" if queryset.model is Message else "message__conversation"
        newest = Feedback.objects.filter(value=value).order_by("-pk")[:_NEWEST]
        return queryset.filter(pk__in=newest.values(column))


class LiveFilter(admin.SimpleListFilter):
    """Whether a reply is live."""

    title = _("now")
    parameter_name = "live"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the one question."""
        return [("1", _("being written"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the rows of live replies."""
        if self.value() != "1":
            return queryset
        column = "message" if queryset.model is Message else "conversation"
        return queryset.filter(pk__in=LiveReply.objects.values(column))


class ErrorFilter(admin.SimpleListFilter):
    """The error of a reply, or of any reply of a conversation."""

    title = _("error")
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the error codes that a reply can end with."""
        return [(code, code) for code in ENDING_CODES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by one code."""
        code = self.value()
        if not code:
            return queryset
        # With the condition of the partial index: SQLite uses it only if the query repeats it.
        broken = Message.objects.exclude(error_code="").filter(error_code=code)
        if queryset.model is Message:
            return queryset.exclude(error_code="").filter(error_code=code)
        return queryset.filter(pk__in=broken.order_by("-pk").values("conversation")[:_NEWEST])


class ReplyStatusFilter(admin.SimpleListFilter):
    """How a reply ended. Live replies have a filter of their own."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the statuses of ended replies."""
        return [choice for choice in Status.choices if choice[0] != Status.STREAMING]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by status."""
        status = self.value()
        if not status:
            return queryset
        return queryset.filter(status=status, role=Message.Role.ASSISTANT)


class EndReasonFilter(admin.SimpleListFilter):
    """Why a reply ended."""

    title = _("end reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the end reasons."""
        return [(reason, reason) for reason in endings.END_REASONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by one reason."""
        reason = self.value()
        return queryset.exclude(end_reason="").filter(end_reason=reason) if reason else queryset


class MessageDateFilter(admin.SimpleListFilter):
    """When a message was created, by its id, since there is no index of the time alone."""

    title = _("date")
    parameter_name = "days"
    _DAYS = {"1": _("past day"), "7": _("past 7 days"), "30": _("past 30 days"), "90": _("past 90 days")}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the spans of time."""
        return list(self._DAYS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the time in the id."""
        days = self.value()
        if days not in self._DAYS:
            return queryset
        since = timezone.now() - timedelta(days=int(days))
        return queryset.filter(pk__gte=first_of(since.timestamp()))
