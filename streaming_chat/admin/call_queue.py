"""The queue of tool calls that wait for an answer, and the page on which staff answer one.

The list has no text. The page shows the arguments, so it requires the permission to read, and creates an access record.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from streaming_chat.chats.call_answers import CallAnswer, answer_for_staff, asked_calls
from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError
from streaming_chat.models import NOBODY, AccessRecord, ToolCall
from streaming_chat.privacy.audit import record
from streaming_chat.protocol.storable_text import storable
from streaming_chat.rendering.shown_json import is_same_json, shown_json

from .formats import owner_name, short_time
from .history import log_change
from .lists import ListAdmin, may_see
from .pages import as_uuid, owner_keys, owner_link, render_page, retry_on_lock_timeout, transcript_url

_ANSWER_PERMISSIONS = tuple(
    f"streaming_chat.{name}" for name in ("view_conversation", "view_transcript", "answer_tool_call")
)
_MAX_REASON = 1_000


def may_answer(request: HttpRequest) -> bool:
    """Return whether the user may answer tool calls: only users who may read what they would allow."""
    return request.user.has_perms(_ANSWER_PERMISSIONS)


@admin.register(ToolCall)
class ToolCallAdmin(ListAdmin):
    """The calls that wait, the oldest first: they stop waiting first."""

    list_display = ("name", "owned_by", "about", "until")
    list_per_page = 50
    ordering = ("pk",)
    allowed_lookups: frozenset[str] = frozenset()
    search_help_text = gettext_lazy("The name of a tool, the id of a conversation or a message, or an owner key.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: ToolCall | None = None) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_delete_permission(self, request: HttpRequest, obj: ToolCall | None = None) -> bool:
        """A call goes with its conversation, without a permission of its own. No page here deletes one."""
        return True

    def get_urls(self) -> list[Any]:
        """Add the address of the page before the others."""
        view = require_http_methods(["GET", "HEAD", "POST"])(self.admin_site.admin_view(self.answer_view))
        answer = sensitive_post_parameters()(view)
        return [path("<int:call>/answer/", answer, name="streaming_chat_toolcall_answer"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list under a heading that says what is in it."""
        title = _("Tool calls that wait for an answer")
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolCall]:
        """Load the calls that wait, without any text."""
        waiting = super().get_queryset(request).filter(status=ToolCall.State.WAITING, message__live__worker=NOBODY)
        named = f"message__conversation__owner__{get_user_model().USERNAME_FIELD}"
        columns = ("name", "message__conversation__owner_key", "message__conversation__erased_at", named)
        rows = waiting.select_related("message__conversation__owner", "message__live")
        return rows.only(*columns, "message__live__expires_at")

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show the links to the pages to users who may answer."""
        # Beside the name, in view on a phone.
        return ("name", "answering", *self.list_display[1:]) if may_answer(request) else self.list_display

    def search(self, request: HttpRequest, queryset: QuerySet[ToolCall], words: str) -> QuerySet[ToolCall]:
        """Search by tool, conversation, message or owner key."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(Q(message=pk) | Q(message__conversation=pk))
        return queryset.filter(Q(name=words) | Q(message__conversation__owner_key__in=owner_keys(words)))

    @admin.display(description=gettext_lazy("owner"))
    def owned_by(self, call: ToolCall) -> str | SafeString:
        """The owner's name, as a link to the owner's page."""
        return owner_link(call.message.conversation, self.admin_site.name)

    @admin.display(description=gettext_lazy("conversation"))
    def about(self, call: ToolCall) -> SafeString:
        """A link to the reply in its transcript."""
        conversation = call.message.conversation_id
        return format_html('<a href="{}">{}</a>', transcript_url(conversation, call.message_id), conversation)

    @admin.display(description=gettext_lazy("waits until"))
    def until(self, call: ToolCall) -> str:
        """When the call is denied."""
        return short_time(call.message.live.expires_at)

    @admin.display(description=gettext_lazy("answer"))
    def answering(self, call: ToolCall) -> SafeString:
        """A link to the page on which the call is answered."""
        url = reverse("admin:streaming_chat_toolcall_answer", args=[call.pk], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, _("Answer…"))

    @retry_on_lock_timeout
    def answer_view(self, request: HttpRequest, call: int) -> HttpResponse:
        """Show a call with its arguments, or answer it and redirect to its reply. Raises PermissionDenied, Http404."""
        if not may_answer(request):
            raise PermissionDenied
        found = ToolCall.objects.using(live_database()).select_related("message__conversation__owner", "message__live")
        row = found.filter(pk=call).defer("output", "answer", "message__text", "message__parts").first()
        if row is None:
            raise Http404
        if row.status != ToolCall.State.WAITING:
            messages.info(request, _("This call no longer waits for an answer."))
            return self._redirect(row)
        if request.method == "POST":
            return self._answer(request, row)
        return self._page(request, row)

    def _answer(self, request: HttpRequest, row: ToolCall) -> HttpResponse:
        conversation = row.message.conversation_id
        record(AccessRecord.Kind.ANSWER, request.user, conversation=conversation, message=row.message_id)
        answer = _answer_of(request, row)
        try:
            answer_for_staff(row.message_id, [answer], by=request.user)
        except APIError as error:
            if error.fields:
                return self._page(request, row, error=" ".join(error.fields.values()))
            messages.error(request, error.text)
            return self._redirect(row)
        allowed, denied = _("Allowed a tool call of the reply {id}."), _("Denied a tool call of the reply {id}.")
        log_change(request, [conversation], (allowed if answer.approved else denied).format(id=row.message_id))
        messages.success(request, _("The answer is saved."))
        return self._redirect(row)

    def _page(self, request: HttpRequest, row: ToolCall, *, error: str = "") -> HttpResponse:
        conversation = row.message.conversation
        kind, of = AccessRecord.Kind.OPEN, conversation.owner_key
        record(kind, request.user, conversation=conversation.pk, message=row.message_id, owner_key=of)
        asked = asked_calls(row.message_id, live_database()).get(row.call_id, {})
        live = getattr(row.message, "live", None)
        context = {
            "title": _("Answer a tool call"),
            "media": forms.Media(css={"all": ["streaming_chat/admin/transcript.css"]}),
            "call": row,
            "arguments": request.POST.get("arguments", shown_json(row.arguments)),
            "error": error,
            "is_of_client": asked.get("runs") == "client",
            "is_editable": asked.get("editable", False),
            "owner": owner_name(conversation),
            "until": live and short_time(live.expires_at),
            "transcript": self._url(row),
            "max_reason": _MAX_REASON,
            "reason": request.POST.get("reason", ""),
        }
        return render_page(self, request, "answer_call", context, status=422 if error else 200)

    def _redirect(self, row: ToolCall) -> HttpResponse:
        return HttpResponseRedirect(self._url(row))

    def _url(self, row: ToolCall) -> str:
        return transcript_url(row.message.conversation_id, row.message_id, site=self.admin_site.name)


def _answer_of(request: HttpRequest, row: ToolCall) -> CallAnswer:
    """Return what the form says. Anything but its button that allows the call denies it."""
    if request.POST.get("answer") != "allow":
        reason = storable(request.POST.get("reason", "").strip())[:_MAX_REASON]
        return CallAnswer(call=row.call_id, approved=False, reason=reason)
    arguments = storable(request.POST.get("arguments", ""))
    is_changed = bool(arguments.strip()) and not is_same_json(arguments, shown_json(row.arguments))
    return CallAnswer(call=row.call_id, arguments=arguments if is_changed else None)
