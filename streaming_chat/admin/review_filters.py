"""Filters of the list by what reviewers said and who they are. Others neither see them nor can use them.

Their rows are the newest of their kind, as a list ends after a thousand rows.
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

from .review_bar import may_review

_NEWEST = 2_000


class _ReviewersFilter(admin.SimpleListFilter):
    """A filter for reviewers. A value that is none of its choices changes nothing."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, Any]]:
        """Return the choices for reviewers; without any, Django does not use the filter."""
        return self.options() if may_review(request) else ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        """Filter by the choice, if there is one."""
        value = self.value()
        is_choice = any(value == choice for choice, _label in self.lookup_choices)
        return queryset.filter(pk__in=self.newest(str(value))) if is_choice else queryset

    def options(self) -> Sequence[tuple[str, Any]]:
        """Return the choices and their labels."""
        raise NotImplementedError

    def newest(self, value: str) -> QuerySet[Any]:
        """Return the ids of the newest conversations of a choice."""
        raise NotImplementedError


class VerdictFilter(_ReviewersFilter):
    """A verdict on a conversation, or on any message of it, by any reviewer."""

    title = _("verdict")
    parameter_name = "verdict"

    def options(self) -> Sequence[tuple[str, Any]]:
        return Verdict.Value.choices

    def newest(self, value: str) -> QuerySet[Any]:
        return Verdict.objects.filter(value=value).order_by("-pk").values("conversation")[:_NEWEST]


class LabelFilter(_ReviewersFilter):
    """A label of a conversation, or of any message of it, by any reviewer."""

    title = _("label")
    parameter_name = "label"

    def options(self) -> Sequence[tuple[str, Any]]:
        return [(label, label) for label in conf.STREAMING_CHAT_REVIEW_LABELS]

    def newest(self, value: str) -> QuerySet[Any]:
        labelled = _with_label(Verdict.objects.exclude(labels=[]), value)
        return labelled.order_by("-pk").values("conversation")[:_NEWEST]


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

    def newest(self, value: str) -> QuerySet[Any]:
        return Review.objects.filter(done_by__pk=value).order_by("-done_at").values("pk")[:_NEWEST]


REVIEW_FILTERS = (VerdictFilter, LabelFilter, ReviewerFilter)
