"""Access tokens in the admin: staff create tokens for themselves only, and see and revoke those of all users.

There is no search: who looks for a token would write all of it into an address or the session.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from streaming_chat.accounts.access_tokens import create_token
from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.accounts.permissions import may_create_tokens
from streaming_chat.models import AccessToken
from streaming_chat.views.api.responses import private
from streaming_chat.views.token_form import TokenForm

from .lists import ListAdmin, ModelAdmin
from .pages import render_page

# The attribute of a request with the token that it has created.
_NEW_TOKEN = "_streaming_chat_new_token"  # noqa: S105  (a name)
_METHODS = {
    "changelist": require_safe,
    "add": require_http_methods(["GET", "HEAD", "POST"]),
    "delete": require_http_methods(["GET", "HEAD", "POST"]),
}


@admin.register(AccessToken)
class AccessTokenAdmin(ListAdmin):
    """Tokens of all users, without their digests. A new one is shown once, in the answer to the form."""

    form = TokenForm
    fields = ("name", "scope", "days")
    list_display = ("__str__", "owner", "named", "scope", "created_at", "expires_at", "last_used_at", "revoke")
    list_select_related = ("owner",)
    search_fields = ()
    delete_confirmation_template = "admin/streaming_chat/conversation/token_revoke.html"
    allowed_lookups = frozenset()

    def get_urls(self) -> list[Any]:
        """Return the addresses of the list, and of the forms that create and revoke a token."""
        urls = [url for url in ModelAdmin.get_urls(self) if (url.name or "").rpartition("_")[2] in _METHODS]
        for url in urls:
            url.callback = _METHODS[str(url.name).rpartition("_")[2]](url.callback)
        return urls

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessToken]:
        """Do not load the digests."""
        return super().get_queryset(request).defer("digest")

    def search(self, request: HttpRequest, queryset: QuerySet[AccessToken], words: str) -> QuerySet[AccessToken]:
        """Find nothing, for an address with words."""
        return queryset.none()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The permission, and what the site's permissions backend says of this user."""
        owner = Owner(request.user, user_key(request.user))
        return ModelAdmin.has_add_permission(self, request) and may_create_tokens(request, owner)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is revoked by deleting it."""
        return ModelAdmin.has_delete_permission(self, request, obj)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Link to the form that revokes a token only for users who may."""
        return self.list_display if self.has_delete_permission(request) else self.list_display[:-1]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form for a token of the user's own."""
        form = super().get_form(request, obj, change, **kwargs)
        form.owner = request.user  # type: ignore[attr-defined]  # as TokenForm has it
        return form

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Ask whether to revoke a token, or revoke it."""
        context = {"title": _("Revoke this token"), "may_view": self.has_view_permission(request)}
        return super().delete_view(request, object_id, {**context, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        """Create the token."""
        setattr(request, _NEW_TOKEN, create_token(obj))

    def response_add(
        self, request: HttpRequest, obj: AccessToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the token. A redirect would have to keep it, in a cookie or the database."""
        context = {
            "title": _("Access token created"),
            "new_token": getattr(request, _NEW_TOKEN),
            "may_view": self.has_view_permission(request),
        }
        return private(render_page(self, request, "token_created", context))

    @admin.display(description=gettext_lazy("name"))
    def named(self, token: AccessToken) -> SafeString:
        """The name that the owner gave it, in its own direction."""
        return format_html("<bdi>{}</bdi>", token.name)

    @admin.display(description="")
    def revoke(self, token: AccessToken) -> SafeString:
        """A link to the form that revokes it."""
        address = reverse("admin:streaming_chat_accesstoken_delete", args=[token.pk], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', address, _("Revoke"))
