"""Filters of the list by what reviewers said and who they are. Others neither see them nor can use them.

Their rows are the newest of their kind before the end of the list's range of dates, as a list ends after a thousand rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import Func, IntegerField, QuerySet, Value
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from streaming_chat.conf import conf
from streaming_chat.models import Conversation, Review, Verdict
from streaming_chat.review.reviewers import recent_reviewers

from .filters import NEWEST, before_end
from .review_bar import may_review


class _ReviewersFilter(admin.SimpleListFilter):
    """A filter for reviewers. A value that is none of its choices changes nothing."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """Return the choices for reviewers; without any, Django does not use the filter."""
        return self.options() if may_review(request) else ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        """Filter by the choice, if there is one."""
        value = self.value()
        is_choice = any(value == choice for choice, _label in self.lookup_choices)
        return queryset.filter(pk__in=self.newest(str(value), request)[:NEWEST]) if is_choice else queryset

    def options(self) -> Sequence[tuple[str, Any]]:
        """Return the choices and their labels."""
        raise NotImplementedError

    def newest(self, value: str, request: HttpRequest) -> QuerySet[Any]:
        """Return the ids of the conversations of a choice, the newest first."""
        raise NotImplementedError


class VerdictFilter(_ReviewersFilter):
    """A verdict on a conversation, or on any message of it, by any reviewer."""

    title = _("verdict")
    parameter_name = "verdict"

    def options(self) -> Sequence[tuple[str, Any]]:
        return Verdict.Value.choices

    def newest(self, value: str, request: HttpRequest) -> QuerySet[Any]:
        judged = before_end(Verdict.objects.filter(value=value), request, "conversation")
        return judged.order_by("-pk").values("conversation")


class LabelFilter(_ReviewersFilter):
    """A label of a conversation, or of any message of it, by any reviewer."""

    title = _("label")
    parameter_name = "label"

    def options(self) -> Sequence[tuple[str, Any]]:
        return [(label, label) for label in conf.STREAMING_CHAT_REVIEW_LABELS]

    def newest(self, value: str, request: HttpRequest) -> QuerySet[Any]:
        labelled = before_end(_with_label(Verdict.objects.exclude(labels=[]), value), request, "conversation")
        return labelled.order_by("-pk").values("conversation")


def _with_label(verdicts: QuerySet[Verdict], label: str) -> QuerySet[Verdict]:
    if connections[verdicts.db].features.supports_json_field_contains:
        return verdicts.filter(labels__contains=[label])
    # SQLite stores what `json.dumps` returns.
    position = Func("labels", Value(json.dumps(label)), function="INSTR", output_field=IntegerField())
    return verdicts.alias(position=position).filter(position__gt=0)


class ReviewerFilter(_ReviewersFilter):
    """Who finished the review. The choices are the reviewers of the newest reviews."""

    title = _("reviewer")
    parameter_name = "reviewer"

    def options(self) -> Sequence[tuple[str, Any]]:
        return recent_reviewers()

    def newest(self, value: str, request: HttpRequest) -> QuerySet[Any]:
        finished = before_end(Review.objects.filter(done_by__pk=value), request, "pk")
        return finished.order_by("-done_at").values("pk")


REVIEW_FILTERS = (VerdictFilter, LabelFilter, ReviewerFilter)
