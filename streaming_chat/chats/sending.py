"""Sending a message: from the request to the order of a run that writes the reply."""

from __future__ import annotations

from django.db import IntegrityError
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import LiveReply
from streaming_chat.providers.preparation import create_for

from .idempotency import find_sent
from .live_reply_limit import require_free_slot
from .send_request import SendRequest, Sent
from .send_transaction import SendTransaction

# Each attempt loses to another request of the same owner at most once for each slot.
_ATTEMPTS = 24
# Perhaps because of a reply whose worker has died.
_BLOCKED_BY_REPLIES = ("reply_in_progress", "too_many_replies")


def send(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    """Insert a message and its reply, leased to `worker`; or find them, by client_id. Blocking.

    Raises APIError: 403, 404, 409, 422, 429, 503.
    """
    for _attempt in range(_ATTEMPTS):
        try:
            return _send_or_recover(request, owner, send_request, worker)
        except IntegrityError:
            # Another request took the slot, the conversation or the client_id: look again.
            continue
    raise APIError(429, "too_many_replies", retry_after=1)


def _send_or_recover(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    """Send; if dead workers' replies are in the way, end those and send again."""
    try:
        return _send_once(request, owner, send_request, worker)
    except APIError as error:
        if error.code not in _BLOCKED_BY_REPLIES or not _recover_replies(owner):
            raise
    return _send_once(request, owner, send_request, worker)


def _send_once(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    if found := find_sent(request, owner, send_request):
        return found
    using = live_database()
    attempt = SendTransaction(request, owner, send_request, worker, using)
    attempt.check()
    # Before any lock: the first time in a process it may take seconds.
    create_for(send_request.model)
    try:
        with runner.expecting(attempt.message_id):
            sent = write_transaction(attempt.write, using=using)
    except IntegrityError:
        # The same request, made twice at once, is answered with its reply, also where the owner has no slot left.
        if find_sent(request, owner, send_request) is None:
            require_free_slot(owner.key, using)
        raise
    if sent.order is None:
        runner.forget_expected(attempt.message_id)
    return sent


def _recover_replies(owner: Owner) -> bool:
    """End the owner's replies whose workers died; return whether there were any."""
    recovered, _more = recover_abandoned(LiveReply.objects.filter(owner_key=owner.key))
    return bool(recovered)
