"""Downloads from the admin: the selected conversations, those of the current list, one transcript.

By POST, for who may read and export; in pieces, so that their number costs no memory; each with an access record that is
committed before the first byte: with ATOMIC_REQUESTS when the view has returned, and only then the first piece is made.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import router
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseNotAllowed,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.exports import transcripts
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.privacy.accesses import record

from .decorators import post_only, retry_on_lock_timeout
from .lists import query_on_record

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Conversation]
else:
    ModelAdmin = admin.ModelAdmin

_MARKDOWN = "markdown"


def may_export(request: HttpRequest) -> bool:
    """Return whether who asks may take texts out: that takes the permission to read them as well."""
    return request.user.has_perms(("streaming_chat.view_transcript", "streaming_chat.export_transcript"))


class Exporting(ModelAdmin):
    """The part of the admin of conversations that exports."""

    def get_urls(self) -> list[Any]:
        """Return the addresses of downloads, before the others."""
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
        """Return the actions of this list, and none of the site's, for whom all of its other addresses are closed, too."""
        # Django 6.1 asks for those of one place, and wants the parameter by this name.
        located = {} if action_location is None else {"action_location": action_location}
        ours = {getattr(action, "__name__", action) for action in self.actions or ()}
        return {name: action for name, action in super().get_actions(request, **located).items() if name in ours}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer with the list; a POST only where it is an action that who asks may do."""
        if request.method == "POST" and request.POST.get("action") not in self.get_actions(request):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        query = request.GET.urlencode()
        asked = {"may_export": self.has_export_permission(request), "list_query": f"?{query}" if query else ""}
        return super().changelist_view(request, {**asked, **(extra_context or {})})

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Allow the actions to who may see the list, read and export."""
        return self.has_view_permission(request) and may_export(request)

    @admin.action(description=_("Export the selected conversations as JSONL"), permissions=["export"])
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponseBase:
        """Download them, a conversation a line."""
        return self._export_selected(request, queryset, "jsonl")

    @admin.action(description=_("Export the selected conversations as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponseBase:
        """Download them, a message a row."""
        return self._export_selected(request, queryset, "csv")

    def _export_selected(self, request: HttpRequest, queryset: QuerySet[Conversation], form: str) -> HttpResponseBase:
        if request.POST.get("select_across") == "1":
            return self._export_all(request, queryset, form)
        ids = list(queryset.order_by().values_list("pk", flat=True))
        write_transaction(partial(_record_exports, ids, request.user), using=router.db_for_write(AccessRecord))
        return _download(request, Conversation.objects.filter(pk__in=ids), form)

    @retry_on_lock_timeout
    def export_list(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """Download what the list shows under the same query, all of its pages."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        if form not in transcripts.FORMATS:
            raise Http404
        try:
            changelist: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()
        return self._export_all(request, changelist.queryset, form)

    def _export_all(self, request: HttpRequest, queryset: QuerySet[Conversation], form: str) -> HttpResponseBase:
        queryset = queryset.using(live_database())
        record(
            AccessRecord.Kind.EXPORT, request.user, terms=query_on_record(request), count=queryset.order_by().count()
        )
        return _download(request, queryset, form)

    @retry_on_lock_timeout
    def export_one(self, request: HttpRequest, conversation_id: uuid.UUID, form: str) -> HttpResponseBase:
        """Download one conversation: all of it, or as Markdown the branch that `message` is on."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        found = Conversation.objects.using(live_database()).filter(pk=conversation_id)
        if form not in {_MARKDOWN, *transcripts.FORMATS} or not found.exists():
            raise Http404
        through = _message(request)
        record(AccessRecord.Kind.EXPORT, request.user, conversation=conversation_id, message=through, count=1)
        name = f"conversation-{conversation_id}"
        if form != _MARKDOWN:
            return _download(request, found, form, name)
        pieces = transcripts.markdown(conversation_id, through)
        return _response(request, pieces, f"{name}.md", "text/markdown; charset=utf-8")


def _record_exports(conversation_ids: list[uuid.UUID], by: Any) -> None:
    # One each: the question is who read this conversation.
    for pk in conversation_ids:
        record(AccessRecord.Kind.EXPORT, by, conversation=pk, count=1)


def _message(request: HttpRequest) -> uuid.UUID | None:
    """Return the message of which the branch is wanted. Raises Http404 for what is none."""
    text = request.POST.get("message", "")
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        raise Http404 from None


def _download(
    request: HttpRequest, conversations: QuerySet[Conversation], form: str, name: str = ""
) -> HttpResponseBase:
    made = transcripts.FORMATS[form]()
    name = name or f"transcripts-{timezone.localtime():%Y-%m-%d-%H%M}"
    return _response(request, transcripts.export(conversations, made), f"{name}.{made.suffix}", made.content_type)


def _response(
    request: HttpRequest, pieces: Iterator[transcripts.Piece], filename: str, content_type: str
) -> StreamingHttpResponse:
    chunks = (piece.data for piece in pieces if piece.data)
    # Of a plain iterator Django's ASGI handler makes one list, and its WSGI handler of an asynchronous one.
    content = _in_thread(chunks) if isinstance(request, ASGIRequest) else chunks
    return StreamingHttpResponse(
        content,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": f'attachment; filename="{filename}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield them, each made in the request's thread, which has its connection."""
    make = sync_to_async(partial(next, chunks, b""), thread_sensitive=True)
    while chunk := await make():
        yield chunk
