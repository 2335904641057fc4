"""Filters whose choices are known without looking at a row."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from streaming_chat.conf import conf
from streaming_chat.staff.judgements import ReviewState


class OwnerFilter(admin.SimpleListFilter):
    """Whether whose it is has an account."""

    title = _("owner")
    parameter_name = "owned_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds of owners."""
        return [("user", _("user")), ("visitor", _("visitor")), ("erased", _("erased"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep one kind. By the column that says it, which has an index."""
        match self.value():
            case "user":
                return queryset.filter(owner__isnull=False)
            case "visitor":
                return queryset.filter(owner=None, owner_key__startswith="v:")
            case "erased":
                return queryset.filter(owner=None, owner_key="")
        return queryset


class ReviewFilter(admin.SimpleListFilter):
    """How far the review is; each choice is one index's."""

    title = _("review")
    parameter_name = "review"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states, what needs attention, and what is with who asks."""
        return [("attention", _("needs attention")), *ReviewState.choices, ("mine", _("in review by me"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep one of them."""
        match self.value():
            case "attention":
                return queryset.filter(needs_attention=True)
            case "mine":
                return queryset.filter(review_state=ReviewState.IN_REVIEW, review__reviewer=request.user)
            case state if state in ReviewState.values:
                return queryset.filter(review_state=state)
        return queryset


class ModelFilter(admin.SimpleListFilter):
    """The models that may be asked for now; older ones are found by the search."""

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return STREAMING_CHAT_MODELS."""
        return [(model, model) for model in conf.STREAMING_CHAT_MODELS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep one model, or with `alias:*` all of a provider."""
        model = self.value()
        if not model:
            return queryset
        if model.endswith(":*"):
            return queryset.filter(model__startswith=model[:-1])
        return queryset.filter(model=model)
