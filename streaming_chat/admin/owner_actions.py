"""What staff do about an owner, each with POST, a permission of its own and an access record: block, unblock, export, erase.

An export and an erasure are confirmed by typing the owner's name. They do what `exportowner` and `eraseowner` do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import path, register_converter, reverse
from django.urls.converters import StringConverter
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from streaming_chat.accounts.owners import Owner
from streaming_chat.exports.owner_data import owner_data
from streaming_chat.exports.owner_files import encoded
from streaming_chat.models import AccessRecord
from streaming_chat.privacy import blocking
from streaming_chat.privacy.audit import record
from streaming_chat.privacy.erasures import count_conversations, erase_for
from streaming_chat.protocol.storable_text import storable
from streaming_chat.views.downloads import download

from .owners import (
    confirmation_of,
    find_owner_or_404,
    may_block,
    may_erase_owner,
    may_export_owner,
    name_of,
    owner_view,
    owners_view,
)
from .pages import owner_url, post_only, render_page, retry_on_lock_timeout


class OwnerKeyConverter(StringConverter):
    """An owner key in an address. The id of a user may be any text, also with slashes and line breaks."""

    regex = r"[\s\S]+"


register_converter(OwnerKeyConverter, "owner_key")

# A proxy or a server may end a request after 20 to 30 s.
_ERASE_SECONDS = 10.0


def urls(model_admin: Any) -> list[Any]:
    """Return the addresses of the pages about owners, and of what is done there."""

    def shown(view: Any) -> Any:
        return require_safe(model_admin.admin_site.admin_view(partial(view, model_admin)))

    def done(view: Any) -> Any:
        return post_only(model_admin, partial(retry_on_lock_timeout(view), model_admin))

    name = "streaming_chat_conversation_owner"
    own = "owner/<owner_key:owner_key>/"
    return [
        path("owners/", shown(owners_view), name=f"{name}s"),
        path(f"{own}block/", done(block_view), name=f"{name}_block"),
        path(f"{own}unblock/", done(unblock_view), name=f"{name}_unblock"),
        path(f"{own}export/", done(export_view), name=f"{name}_export"),
        path(f"{own}erase/", _in_transactions_of_its_own(done(erase_view)), name=f"{name}_erase"),
        path(own, shown(owner_view), name=name),
    ]


def block_view(model_admin: Any, request: HttpRequest, owner_key: str) -> HttpResponse:
    """Block an owner, for the reason that was typed."""
    owner = _require(may_block, request, owner_key)
    reason = storable(request.POST.get("reason", "")).strip()
    if not reason:
        messages.error(request, _("Enter the reason for the block."))
        return _redirect(model_admin, owner)
    blocking.block(owner_key, reason, request.user)
    messages.success(request, _("Chatting is blocked for {name}.").format(name=name_of(owner)))
    return _redirect(model_admin, owner)


def unblock_view(model_admin: Any, request: HttpRequest, owner_key: str) -> HttpResponse:
    """Lift a block. An owner who is not blocked stays so."""
    owner = _require(may_block, request, owner_key)
    if blocking.unblock(owner_key, request.user):
        messages.success(request, _("Chatting is allowed again for {name}.").format(name=name_of(owner)))
    return _redirect(model_admin, owner)


def export_view(model_admin: Any, request: HttpRequest, owner_key: str) -> HttpResponseBase:
    """Download everything that is stored about an owner, as JSON."""
    owner = _require(may_export_owner, request, owner_key)
    if not _is_confirmed(request, owner):
        return _redirect(model_admin, owner)
    record(AccessRecord.Kind.EXPORT, request.user, owner_key=owner_key, count=count_conversations(owner))
    name = f"owner-{timezone.localtime():%Y-%m-%d-%H%M}.json"
    return download(request, encoded(owner_data(owner)), name, "application/json")


def erase_view(model_admin: Any, request: HttpRequest, owner_key: str) -> HttpResponse:
    """Erase an owner. If that takes too long for one request, show a page with a button that goes on."""
    owner = _require(may_erase_owner, request, owner_key)
    if not _is_confirmed(request, owner):
        return _redirect(model_admin, owner)
    record(AccessRecord.Kind.ERASE, request.user, owner_key=owner_key, count=count_conversations(owner))
    if not erase_for(owner, _ERASE_SECONDS):
        return _unfinished_page(model_admin, request, owner)
    messages.success(request, _("Everything that {name} wrote is erased.").format(name=name_of(owner)))
    if owner.user is not None:
        return _redirect(model_admin, owner)
    site = model_admin.admin_site.name
    return HttpResponseRedirect(reverse("admin:streaming_chat_conversation_changelist", current_app=site))


def _unfinished_page(model_admin: Any, request: HttpRequest, owner: Owner) -> HttpResponse:
    context = {
        "title": _("Erase {name}").format(name=name_of(owner)),
        "left": count_conversations(owner),
        "confirmation": confirmation_of(owner),
        "cancel": owner_url(owner.key, site=model_admin.admin_site.name),
    }
    return render_page(model_admin, request, "owner_erasing", context)


def _require(may: Callable[[HttpRequest], bool], request: HttpRequest, owner_key: str) -> Owner:
    """Return the owner. Raises PermissionDenied, and after that Http404."""
    if not may(request):
        raise PermissionDenied
    return find_owner_or_404(owner_key)


def _is_confirmed(request: HttpRequest, owner: Owner) -> bool:
    if request.POST.get("confirmation", "").strip() == confirmation_of(owner):
        return True
    text = _("Nothing was done: type “{name}” to confirm.").format(name=confirmation_of(owner))
    messages.error(request, text)
    return False


def _redirect(model_admin: Any, owner: Owner) -> HttpResponseRedirect:
    return HttpResponseRedirect(owner_url(owner.key, site=model_admin.admin_site.name))


def _in_transactions_of_its_own(view: Any) -> Any:
    """Exempt a view from ATOMIC_REQUESTS: what it erases is committed a few conversations at a time, and stops are seen."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
