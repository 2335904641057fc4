"""What one wrote in this session before one signed in: is there any, take it over, leave it. Never by itself.

The session may be somebody else's, planted in this browser or left on a shared computer: only its owner can tell.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.merging import claim, offer
from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.visitors import forget_visitor, session_key
from streaming_chat.exceptions import APIError

from . import parsing
from .responses import Answer, api


def get_claim(request: HttpRequest, owner: Owner) -> Answer:
    """How much there is, and the newest titles, to be recognised by."""
    _require_user(owner)
    count, titles = offer(session_key(request))
    return {"conversations": count, "titles": titles}


def take_claim(request: HttpRequest, owner: Owner) -> Answer:
    """All of it is the user's from now on; the visitor is forgotten."""
    _require_user(owner)
    parsing.read_optional_body(request, {})
    count = claim(session_key(request), owner)
    forget_visitor(request, claimed=True)
    return {"conversations": count}


def decline_claim(request: HttpRequest, owner: Owner) -> Answer:
    """It stays nobody's, and expires; the visitor is forgotten."""
    _require_user(owner)
    forget_visitor(request)
    return HttpResponse(status=204)


def _require_user(owner: Owner) -> None:
    if owner.user is None:
        raise APIError(401, "not_signed_in")


claim_view = api(GET=get_claim, POST=take_claim, DELETE=decline_claim)
