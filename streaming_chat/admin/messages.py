"""The list of replies: how each ended, its tokens, times and cost, and its feedback. Texts are in the transcripts only."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from streaming_chat.models import Feedback, Message

from .filters import MESSAGE_FILTERS, MESSAGE_FORMS, ReplyStatusFilter, parameters_of
from .formats import money, short_time
from .lists import ListAdmin, may_see
from .pages import as_uuid, owner_keys, owner_link, transcript_url

_COLUMNS = (
    "role", "status", "end_reason", "error_code", "provider", "model", "input_tokens", "output_tokens", "cost",
    "first_event_ms", "duration_ms", "created_at", "conversation__owner_key", "conversation__erased_at",
)  # fmt: skip


@admin.register(Message)
class MessageAdmin(ListAdmin):
    """The replies of all conversations, newest first."""

    list_display = (
        "when",
        "owned_by",
        "status",
        "reason",
        "model",
        "tokens",
        "spent",
        "first_event_ms",
        "duration_ms",
        "ratings",
    )
    list_filter = (*MESSAGE_FORMS, *MESSAGE_FILTERS)
    # Other lookups would reveal a text letter by letter.
    allowed_lookups = frozenset(parameters_of(*MESSAGE_FILTERS, *MESSAGE_FORMS))
    list_per_page = 50
    search_help_text = _("The id of a message, a conversation or a provider's request, a reference, or an owner key.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Load replies without any text, with their ratings."""
        replies = super().get_queryset(request).filter(role=Message.Role.ASSISTANT)
        named = f"conversation__owner__{get_user_model().USERNAME_FIELD}"
        feedback = Prefetch("feedback", Feedback.objects.only("message", "value"))
        return replies.select_related("conversation__owner").only(*_COLUMNS, named).prefetch_related(feedback)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Order by id, which begins with the time; with a filter by status, in the order of its index."""
        return ("-created_at",) if ReplyStatusFilter.parameter_name in request.GET else ("-id",)

    def search(self, request: HttpRequest, queryset: QuerySet[Message], words: str) -> QuerySet[Message]:
        """Search by ids and references, each in its index."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(Q(pk=pk) | Q(conversation=pk))
        if keys := owner_keys(words):
            return queryset.filter(conversation__owner_key__in=keys)
        messages = Message.objects.order_by()
        by_request = messages.exclude(request_id="").filter(request_id=words)
        by_reference = messages.exclude(ref="").filter(ref=words.lower())
        found = {*by_request.values_list("pk", flat=True)[:100], *by_reference.values_list("pk", flat=True)[:100]}
        return queryset.filter(pk__in=found)

    @admin.display(description=_("when"))
    def when(self, message: Message) -> SafeString:
        """When it started, with a link to it in its transcript."""
        url = transcript_url(message.conversation_id, message.pk)
        return format_html('<a href="{}">{}</a>', url, short_time(message.created_at))

    @admin.display(description=_("owner"))
    def owned_by(self, message: Message) -> str | SafeString:
        """The owner's name, as a link to the owner's page."""
        return owner_link(message.conversation, self.admin_site.name)

    @admin.display(description=_("reason"))
    def reason(self, message: Message) -> str:
        """The error or the reason that ended it."""
        return message.error_code or message.end_reason

    @admin.display(description=_("tokens in / out"))
    def tokens(self, message: Message) -> str:
        """The tokens that it used."""
        counts = (message.input_tokens, message.output_tokens)
        return " / ".join("–" if count is None else localize(count) for count in counts)

    @admin.display(description=_("cost"))
    def spent(self, message: Message) -> str:
        """What it cost."""
        return money(message.cost)

    @admin.display(description=_("feedback"))
    def ratings(self, message: Message) -> str:
        """The ratings that it has."""
        values = {feedback.value for feedback in message.feedback.all()}
        return ", ".join(str(words) for value, words in ((1, _("good")), (-1, _("bad"))) if value in values)
