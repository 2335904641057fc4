"""Merging what a visitor wrote into the account that the visitor has signed in to: offer, accept, decline.

Never by itself. Somebody else may have written in this session, planted in this browser or left on a shared computer; only
the user can tell.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.merging import merge_visitor, offer
from streaming_chat.accounts.owners import Owner, forget_visitor, session_key
from streaming_chat.exceptions import APIError

from . import parsing
from .operations import operation
from .responses import Answer, api


@operation(answers={200: "Offer"})
def get_offer(request: HttpRequest, owner: Owner) -> Answer:
    """How many conversations there are, and the newest titles, by which the user recognises them."""
    _require_user(owner)
    count, titles = offer(session_key(request))
    return {"conversations": count, "titles": titles}


@operation(body=parsing.no_fields, answers={200: "Claimed"})
def accept_offer(request: HttpRequest, owner: Owner) -> Answer:
    """All of them belong to the user from now on; the visitor is forgotten."""
    _require_user(owner)
    parsing.read_body(request, *parsing.no_fields())
    count = merge_visitor(session_key(request), owner)
    forget_visitor(request, merged=True)
    return {"conversations": count}


@operation(answers={204: None})
def decline_offer(request: HttpRequest, owner: Owner) -> Answer:
    """They belong to no account, and expire; the visitor is forgotten."""
    _require_user(owner)
    forget_visitor(request)
    return HttpResponse(status=204)


def _require_user(owner: Owner) -> None:
    if owner.user is None:
        raise APIError(401, "not_signed_in")


merge_view = api(GET=get_offer, POST=accept_offer, DELETE=decline_offer)
