"""The list of links to shared conversations, and revoking one. It shows no text; what is shared is in the transcript."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.chats import sharing
from streaming_chat.models import AccessRecord, ShareLink
from streaming_chat.privacy.audit import record

from .history import log_change
from .lists import ListAdmin, may_see
from .pages import as_uuid, owner_keys, owner_link, post_only, retry_on_lock_timeout, transcript_url

_COLUMNS = ("created_at", "message", "conversation__owner_key", "conversation__erased_at")


def may_revoke(request: HttpRequest) -> bool:
    """Return whether the user may revoke links, which does not require the permission to read texts."""
    return request.user.has_perm("streaming_chat.revoke_link")


@admin.register(ShareLink)
class ShareLinkAdmin(ListAdmin):
    """The links of all owners, newest first."""

    list_display = ("created_at", "owned_by", "about")
    list_per_page = 50
    ordering = ("-created_at",)
    allowed_lookups: frozenset[str] = frozenset()
    search_help_text = gettext_lazy("The id of a conversation, or an owner key.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: ShareLink | None = None) -> bool:
        """Show the list to users who see the conversations."""
        return may_see(request)

    def has_delete_permission(self, request: HttpRequest, obj: ShareLink | None = None) -> bool:
        """A link goes with its conversation, without a permission of its own. No page here deletes one."""
        return True

    def get_urls(self) -> list[Any]:
        """Add the address that revokes before the others."""
        revoke = post_only(self, self.revoke_view)
        name = "streaming_chat_sharelink_revoke"
        return [path("<uuid:link>/revoke/", revoke, name=name), *super().get_urls()]

    @retry_on_lock_timeout
    def revoke_view(self, request: HttpRequest, link: uuid.UUID) -> HttpResponse:
        """Revoke the link to a conversation, and redirect to the list, or to the transcript whose form this was."""
        if not (self.has_view_permission(request) and may_revoke(request)):
            raise PermissionDenied
        if sharing.link_to(link):
            record(AccessRecord.Kind.REVOKE, request.user, conversation=link)
            sharing.revoke(link)
            log_change(request, [link], _("Revoked the link to the conversation."))
            self.message_user(request, _("The link is revoked."), messages.SUCCESS)
        site = self.admin_site.name
        if "transcript" in request.POST:
            return HttpResponseRedirect(transcript_url(link, site=site))
        return HttpResponseRedirect(reverse("admin:streaming_chat_sharelink_changelist", current_app=site))

    def get_queryset(self, request: HttpRequest) -> QuerySet[ShareLink]:
        """Load links without any text of their conversations."""
        named = f"conversation__owner__{get_user_model().USERNAME_FIELD}"
        return super().get_queryset(request).select_related("conversation__owner").only(*_COLUMNS, named)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show the buttons that revoke to users who may."""
        return [*self.list_display, "revocation"] if may_revoke(request) else self.list_display

    def search(self, request: HttpRequest, queryset: QuerySet[ShareLink], words: str) -> QuerySet[ShareLink]:
        """Search by conversation or owner key."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(pk=pk)
        return queryset.filter(conversation__owner_key__in=owner_keys(words))

    @admin.display(description=gettext_lazy("owner"))
    def owned_by(self, link: ShareLink) -> str | SafeString:
        """The owner's name, as a link to the owner's page."""
        return owner_link(link.conversation, self.admin_site.name)

    @admin.display(description=gettext_lazy("conversation"))
    def about(self, link: ShareLink) -> SafeString:
        """A link to the last message that is shared, in its transcript."""
        url = transcript_url(link.conversation_id, link.message_id)
        return format_html('<a href="{}">{}</a>', url, link.conversation_id)

    @admin.display(description="")
    def revocation(self, link: ShareLink) -> SafeString:
        """The button that revokes the link. It sends the form of the list, which has the CSRF token, to another address."""
        url = reverse("admin:streaming_chat_sharelink_revoke", args=[link.conversation_id])
        return format_html('<button type="submit" class="list-revoke" formaction="{}">{}</button>', url, _("Revoke"))
