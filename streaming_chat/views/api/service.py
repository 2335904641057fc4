"""The models on offer, CSRF tokens, and the answer for unknown addresses."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.middleware.csrf import get_token

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.providers import default_model

from . import parsing
from .responses import Answer, api, keep_token, require_found


def list_models(request: HttpRequest, owner: Owner) -> Answer:
    """The models this owner may ask for; the first is the default."""
    return {"results": [{"id": name, "default": name == default_model()} for name in offered_models(request, owner)]}


def offered_models(request: HttpRequest, owner: Owner) -> list[str]:
    """Return the models this owner may ask for, wildcards among them."""
    permissions = get_permissions()
    return [name for name in conf.STREAMING_CHAT_MODELS if permissions.may_use_model(request, owner, name)]


def fresh_token(request: HttpRequest, owner: Owner) -> Answer:
    """A CSRF token for a page whose own has expired: signing in, in another tab too, changes the secret behind it."""
    return keep_token(request, JsonResponse({"csrf_token": get_token(request)}))


def become_known(request: HttpRequest, owner: Owner) -> Answer:
    """The same; and who asks is a known visitor from now on, if they are a visitor.

    A proxy may hold back an event stream with all its headers: whom the first message makes a visitor would have no
    cookie by which a second try finds the first.
    """
    parsing.read_optional_body(request, {})
    return fresh_token(request, owner)


def unknown(request: HttpRequest, owner: Owner, path: str) -> Answer:
    """What is at no address of the API: the same answer as for an unknown id, not a page of the site's."""
    return require_found(None)


models_view = api(GET=list_models)
token_view = api(GET=fresh_token, POST=become_known)
unknown_view = api(**dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), unknown))
