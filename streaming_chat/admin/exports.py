"""Downloads from the admin: the selected conversations, those of the current list, or one transcript.

With POST, for users who may read and export. What reviewers recorded is only in the files of reviewers. In chunks, so their
number costs no memory. Each has an access record that is committed before the first byte: with ATOMIC_REQUESTS, when the
view has returned, and only then is the first chunk made.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import router
from django.db.models import Count, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
)
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.exports.datasets import DATASETS, export_dataset
from streaming_chat.exports.markdown import export_markdown
from streaming_chat.exports.transcripts import FORMATS, ExportChunk, Jsonl, export
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.privacy.audit import record
from streaming_chat.views.downloads import download

from .lists import ReadOnlyAdmin, query_on_record
from .pages import post_only, retry_on_lock_timeout, uuid_or_404
from .review_bar import may_review

_MARKDOWN = "markdown"


def may_export(request: HttpRequest) -> bool:
    """Return whether the user may export texts, which includes reading them."""
    return request.user.has_perms(("streaming_chat.view_transcript", "streaming_chat.export_transcript"))


class ExportMixin(ReadOnlyAdmin):
    """The views and actions of the admin of conversations that export."""

    def get_urls(self) -> list[Any]:
        """Add the addresses of downloads before the others."""
        return [
            path(
                "export/<str:form>/",
                post_only(self, self.export_list),
                name="streaming_chat_conversation_export_list",
            ),
            path(
                "<uuid:conversation_id>/export/<str:form>/",
                post_only(self, self.export_one),
                name="streaming_chat_conversation_export",
            ),
            *super().get_urls(),
        ]

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Return the app's own actions of this list, without those of the site."""
        # Django 6.1 passes action_location; earlier versions do not accept it.
        location = {} if action_location is None else {"action_location": action_location}
        ours = {getattr(action, "__name__", action) for action in self.actions or ()}
        return {name: action for name, action in super().get_actions(request, **location).items() if name in ours}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list. A POST must be an action that the user may perform."""
        if request.method == "POST" and request.POST.get("action") not in self.get_actions(request):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        query = request.GET.urlencode()
        context = {"may_export": self.has_export_permission(request), "list_query": f"?{query}" if query else ""}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Allow the actions to users who may see the list, read and export."""
        return self.has_view_permission(request) and may_export(request)

    @admin.action(description=_("Export the selected conversations as JSONL"), permissions=["export"])
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponseBase:
        """Download a conversation per line."""
        return self._export_selected(request, queryset, "jsonl")

    @admin.action(description=_("Export the selected conversations as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponseBase:
        """Download a message per row."""
        return self._export_selected(request, queryset, "csv")

    def _export_selected(self, request: HttpRequest, queryset: QuerySet[Conversation], form: str) -> HttpResponseBase:
        if request.POST.get("select_across") == "1":
            return self._export_all(request, queryset, form)
        owner_keys = dict(queryset.order_by().values_list("pk", "owner_key"))
        write_transaction(partial(_record_exports, owner_keys, request.user), using=router.db_for_write(AccessRecord))
        return _download(request, Conversation.objects.filter(pk__in=owner_keys), form)

    @retry_on_lock_timeout
    def export_list(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """Download all pages of the list with the same query."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        if form in DATASETS and not may_review(request):
            raise PermissionDenied
        if form not in {*FORMATS, *DATASETS}:
            raise Http404
        try:
            changelist: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()
        return self._export_all(request, changelist.queryset, form)

    def _export_all(self, request: HttpRequest, queryset: QuerySet[Conversation], form: str) -> HttpResponseBase:
        queryset = queryset.using(live_database())
        counts: dict[str, int] = dict(queryset.order_by().values_list("owner_key").annotate(count=Count("pk")))
        terms = query_on_record(request)
        record(AccessRecord.Kind.EXPORT, request.user, owner_keys=counts, terms=terms, count=sum(counts.values()))
        return _download(request, queryset, form)

    @retry_on_lock_timeout
    def export_one(self, request: HttpRequest, conversation_id: uuid.UUID, form: str) -> HttpResponseBase:
        """Download a conversation: all of it, or as Markdown the branch with `message`."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        found = Conversation.objects.using(live_database()).filter(pk=conversation_id)
        if form not in {_MARKDOWN, *FORMATS} or not found.exists():
            raise Http404
        # The message whose branch is exported.
        through = uuid_or_404(text) if (text := request.POST.get("message", "")) else None
        record(AccessRecord.Kind.EXPORT, request.user, conversation=conversation_id, message=through, count=1)
        name = f"conversation-{conversation_id}"
        if form != _MARKDOWN:
            return _download(request, found, form, name)
        chunks = export_markdown(conversation_id, through, has_reviews=may_review(request))
        return download(request, _data(chunks), f"{name}.md", "text/markdown; charset=utf-8")


def _record_exports(owner_keys: dict[uuid.UUID, str], by: Any) -> None:
    """Save a record for each conversation, so that its own records say who read it. owner_keys: by conversation."""
    for pk, owner_key in owner_keys.items():
        record(AccessRecord.Kind.EXPORT, by, conversation=pk, owner_key=owner_key, count=1)


def _download(
    request: HttpRequest, conversations: QuerySet[Conversation], form: str, name: str = ""
) -> HttpResponseBase:
    moment = f"{timezone.localtime():%Y-%m-%d-%H%M}"
    if form in DATASETS:
        chunks = export_dataset(conversations, DATASETS[form])
        return download(request, _data(chunks), f"{form}-{moment}.{Jsonl.suffix}", Jsonl.content_type)
    made = FORMATS[form](has_reviews=may_review(request))
    name = name or f"transcripts-{moment}"
    return download(request, _data(export(conversations, made)), f"{name}.{made.suffix}", made.content_type)


def _data(chunks: Iterator[ExportChunk]) -> Iterator[bytes]:
    return (chunk.data for chunk in chunks)
