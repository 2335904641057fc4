"""The pages about owners: who used the most, who is blocked, and one page for each user or visitor.

For users with `view_conversation`; they have no text but the reason of a block, for users who may block. What can be done
about an owner is in owner_actions.py, each with a permission of its own.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Min, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.accounts.owner_lookup import user_with_key
from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.db.alias import live_database
from streaming_chat.models import BlockedOwner, Conversation
from streaming_chat.privacy.blocking import MAX_REASON_CHARS
from streaming_chat.usage.owners import OwnerUsage, top_owners, total, usage_of

from .charts import Chart, Series, make_chart
from .dashboard import days_of, range_choices
from .formats import count, money, uncosted
from .pages import owner_url, render_page

# The newest ones; each has its own page.
_MAX_BLOCKED = 100
# So many characters of a visitor's key are shown, and typed as a confirmation.
_KEY_CHARS = 10
_PREFIX = "streaming_chat"


def may_block(request: HttpRequest) -> bool:
    """Return whether the user may block owners, and read the reason of a block."""
    return request.user.has_perms((f"{_PREFIX}.view_conversation", f"{_PREFIX}.block_owner"))


def may_export_owner(request: HttpRequest) -> bool:
    """Return whether the user may export all of an owner, which includes reading it."""
    names = ("view_conversation", "view_transcript", "export_owner")
    return request.user.has_perms([f"{_PREFIX}.{name}" for name in names])


def may_erase_owner(request: HttpRequest) -> bool:
    """Return whether the user may erase an owner, which does not require the permission to read."""
    return request.user.has_perms((f"{_PREFIX}.view_conversation", f"{_PREFIX}.erase_owner"))


def find_owner_or_404(key: str) -> Owner:
    """Return the owner with this key. Raises Http404 if there is no user, no conversation and no block of theirs."""
    # PostgreSQL refuses a NUL in a parameter.
    if "\0" in key:
        raise Http404
    user = user_with_key(key)
    if user is None and not (_owned(key).exists() or _blocked().filter(pk=key).exists()):
        raise Http404
    return Owner(user, key)


def name_of(owner: Owner) -> str:
    """Return the username, or that the owner is a visitor and the beginning of the key."""
    return str(owner.user.get_username()) if owner.user else _visitor(owner.key)


def confirmation_of(owner: Owner) -> str:
    """Return what must be typed to confirm an export or an erasure."""
    return str(owner.user.get_username()) if owner.user else owner.key[:_KEY_CHARS]


def owners_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the owners who used the most in the last days, and the blocked ones."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    days = days_of(request)
    top = top_owners(days)
    blocked = _blocked() if may_block(request) else _blocked().defer("reason")
    newest = list(blocked.order_by("-at")[:_MAX_BLOCKED])
    names = _names([*(key for key, _usage in top), *(each.owner_key for each in newest)])
    site = model_admin.admin_site.name
    context = {
        "title": _("Users and visitors"),
        "media": _media(),
        "ranges": range_choices(days),
        "top": [(names[key], owner_url(key, site=site), _row(usage)) for key, usage in top],
        "blocked": [(names[each.owner_key], owner_url(each.owner_key, site=site), each) for each in newest],
        "may_block": may_block(request),
    }
    return render_page(model_admin, request, "owners", context)


def owner_view(model_admin: Any, request: HttpRequest, owner_key: str) -> HttpResponse:
    """Show one owner: what they used, whether they are blocked, and what the user may do about it."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    owner = find_owner_or_404(owner_key)
    totals = _totals(owner_key)
    blocked = _blocked() if may_block(request) else _blocked().defer("reason")
    context = {
        "title": name_of(owner),
        "media": _media(),
        "owner_key": owner_key,
        "user_url": _user_url(model_admin, request, owner.user),
        # Templates have a variable `block` of their own.
        "blocked": blocked.filter(pk=owner_key).first(),
        "confirmation": confirmation_of(owner),
        "max_reason": MAX_REASON_CHARS,
        "may_block": may_block(request),
        "may_export_owner": may_export_owner(request),
        "may_erase_owner": may_erase_owner(request),
        **_usage_context(request, owner_key, totals),
    }
    return render_page(model_admin, request, "owner", context)


def _usage_context(request: HttpRequest, owner_key: str, totals: dict[str, Any]) -> dict[str, Any]:
    days = days_of(request)
    used = usage_of(owner_key, days)
    return {
        "ranges": range_choices(days),
        "totals": totals,
        "total_tiles": _total_tiles(totals),
        "tiles": _tiles(total(used.values())),
        "charts": _charts([str(date_format(day, "MONTH_DAY_FORMAT")) for day in used], list(used.values())),
    }


def _owned(key: str) -> Any:
    return Conversation.objects.using(live_database()).owned_by(key)


def _blocked() -> Any:
    return BlockedOwner.objects.using(live_database())


def _totals(key: str) -> dict[str, Any]:
    """Return the sums over all conversations of an owner that are not removed, in one query."""
    totals: dict[str, Any] = (
        _owned(key)
        .order_by()
        .aggregate(
            conversations=Count("pk"),
            deleted=Count("pk", filter=Q(deleted_at__isnull=False)),
            messages=Sum("message_count", default=0),
            inputs=Sum("input_tokens", default=0),
            outputs=Sum("output_tokens", default=0),
            dollars=Sum("cost"),
            first=Min("created_at"),
            last=Max("last_activity"),
        )
    )
    return totals


def _total_tiles(totals: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the label, value and note of each tile about everything that is stored."""
    deleted = totals["deleted"]
    note = ngettext("{count} deleted", "{count} deleted", deleted).format(count=count(deleted)) if deleted else ""
    return [
        (_("Conversations"), count(totals["conversations"]), note),
        (_("Messages"), count(totals["messages"]), ""),
        (_("Input tokens"), count(totals["inputs"]), ""),
        (_("Output tokens"), count(totals["outputs"]), ""),
        (_("Cost"), money(totals["dollars"]), ""),
    ]


def _tiles(usage: OwnerUsage) -> list[tuple[str, str, str]]:
    """Return the same about the days that are shown."""
    return [
        (_("Replies"), count(usage.replies), ""),
        (_("Input tokens"), count(usage.input_tokens), ""),
        (_("Output tokens"), count(usage.output_tokens), ""),
        (_("Cost"), money(usage.cost), uncosted(usage.uncosted)),
    ]


def _charts(days: list[str], used: list[OwnerUsage]) -> list[Chart]:
    costs = [None if usage.cost is None else float(usage.cost) for usage in used]
    cost = Series("cost", _("Cost"), costs, [money(usage.cost) for usage in used])
    replies = Series("completed", _("Replies"), [usage.replies for usage in used])
    return [
        make_chart("costs", _("Cost"), days, [cost], money),
        make_chart("replies", _("Replies"), days, [replies], count, least=2),
    ]


def _row(usage: OwnerUsage) -> list[str]:
    return [
        count(usage.replies),
        count(usage.input_tokens),
        count(usage.output_tokens),
        money(usage.cost),
        count(usage.uncosted),
    ]


def _names(keys: list[str]) -> dict[str, str]:
    """Return the name of each owner, by the key. One query."""
    users = get_user_model()._default_manager.using(live_database())
    pks = [key.removeprefix("u:") for key in keys if key.startswith("u:")]
    named = {user_key(user): str(user.get_username()) for user in users.filter(pk__in=pks)}
    return {key: named.get(key) or (_visitor(key) if key.startswith("v:") else key) for key in keys}


def _visitor(key: str) -> str:
    return _("visitor {key}").format(key=key[:_KEY_CHARS])


def _user_url(model_admin: Any, request: HttpRequest, user: Any) -> str:
    """Return the address of the user's page in the site's admin; "" if there is none, or it would be refused."""
    site = model_admin.admin_site
    if user is None or not site.is_registered(type(user)):
        return ""
    if not site.get_model_admin(type(user)).has_view_or_change_permission(request, user):
        return ""
    opts = user._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[user.pk], current_app=site.name)


def _media() -> forms.Media:
    return forms.Media(css={"all": ["streaming_chat/admin/numbers.css", "streaming_chat/admin/owners.css"]})
