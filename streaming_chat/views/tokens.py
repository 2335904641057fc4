"""The page on which users create and revoke their own access tokens. It needs no script.

A new token is in the answer to the form itself: a redirect would have to keep it somewhere.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from streaming_chat.accounts.access_tokens import create_token, is_valid
from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import may_create_tokens
from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError
from streaming_chat.models import AccessToken

from . import in_thread
from .api import parsing
from .api.responses import exempt, keep_token, private
from .pages import refuse
from .plain import require_form
from .token_form import TokenForm
from .work_shares import MeasuredWork


@exempt
@require_http_methods(["GET", "HEAD", "POST"])
def tokens_view(request: HttpRequest) -> HttpResponse:
    """Show the page, or create or revoke a token."""
    with MeasuredWork() as work:
        try:
            if request.method == "POST":
                require_form(request)
            owner = work.authenticate(request)
        except APIError as error:
            return refuse(request, error)
        if owner.user is None:
            return redirect_to_login(request.get_full_path())
        if not may_create_tokens(request, owner):
            raise PermissionDenied
        return _post(request, owner) if request.method == "POST" else _show(request, owner, _form(owner))


in_thread.register(tokens_view, tokens_view)


def _post(request: HttpRequest, owner: Owner) -> HttpResponse:
    if "revoke" in request.POST:
        _revoke(owner, request.POST["revoke"])
        response = HttpResponseRedirect(reverse("streaming_chat:tokens"))
        response.status_code = 303
        return private(response)
    form = _form(owner, request.POST)
    if not form.is_valid():
        return _show(request, owner, form)
    return _show(request, owner, _form(owner), new_token=create_token(form.save()))


def _revoke(owner: Owner, text: str) -> None:
    """Delete a token of the owner's. A token that is gone or belongs to another user changes nothing."""
    try:
        pk = parsing.identifier(text)
    except ValueError:
        return
    _tokens(owner).filter(pk=pk).delete()


def _form(owner: Owner, data: Any = None) -> TokenForm:
    form = TokenForm(data, auto_id="scp-%s", label_suffix="")
    form.owner = owner.user
    return form


def _show(request: HttpRequest, owner: Owner, form: TokenForm, **context: Any) -> HttpResponse:
    tokens = [(token, is_valid(token)) for token in _tokens(owner).select_related("owner")]
    response = render(request, "streaming_chat/tokens.html", {"form": form, "tokens": tokens, **context})
    return keep_token(request, private(response))


def _tokens(owner: Owner) -> Any:
    return AccessToken.objects.using(live_database()).filter(owner=owner.user)
