"""A request that is sent twice, with one client_id, makes one reply."""

from __future__ import annotations

from django.db.models import CharField
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner, merged_key
from streaming_chat.db.alias import live_database
from streaming_chat.db.statements import Query, Statement, arguments
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message, MessageQuerySet

from .send_request import SendRequest, Sent


def replies_sent(request: HttpRequest, owner: Owner, send_request: SendRequest) -> MessageQuerySet:
    """Return the reply of this client_id, by this owner or by the visitor that a user was before."""
    return Message.objects.using(live_database()).filter(send_key__in=_send_keys(request, owner, send_request))


def find_sent(request: HttpRequest, owner: Owner, send_request: SendRequest) -> Sent | None:
    """Return what an earlier request with this client_id made, None for the first.

    Raises APIError: 404 if its conversation is not this owner's any more, 422 if it asked for something else.
    """
    if not send_request.client_id:
        return None
    keys = _send_keys(request, owner, send_request)
    found = _select_sent.rows(live_database(), len(keys), keys=keys)
    if not found:
        return None
    pk, digest, deleted_at, owner_key = found[0]
    if deleted_at or owner_key != owner.key:
        # The client_id is taken, so every attempt would fail at the constraint. And what a visitor sent may have been
        # merged into an account since: it is not the visitor's to read any more.
        raise APIError(404, "not_found")
    if digest != send_request.digest():
        raise APIError(422, "idempotency_mismatch")
    return Sent(pk)


def _send_keys(request: HttpRequest, owner: Owner, send_request: SendRequest) -> list[str | None]:
    return [send_request.key(key) for key in (owner.key, merged_key(request)) if key]


@Statement
def _select_sent(count: int) -> Query:
    replies = Message.objects.filter(send_key__in=arguments("keys", CharField(), count))
    columns = ("pk", "body_digest", "conversation__deleted_at", "conversation__owner_key")
    return replies.order_by("created_at", "id").values_list(*columns)[:1]
