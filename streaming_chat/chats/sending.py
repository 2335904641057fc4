"""Sending a message: from the request to the order of a run that writes the reply."""

from __future__ import annotations

from functools import partial

from django.db import IntegrityError
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import LiveReply

from .chat_ids import in_chat
from .idempotency import find_sent
from .live_reply_limit import require_free_slot
from .prepared_reply import prepare
from .send_request import SendRequest, Sent
from .send_transaction import ConversationChanged, insert_reply
from .stateless import with_conversation

# Each is prepared again, since another request has changed what was read.
_ATTEMPTS = 6
# Of one preparation: each loses to another request of the same owner at most once for each slot.
_SLOT_ATTEMPTS = 4
# Perhaps because of a reply whose worker has died.
_BLOCKED_BY_REPLIES = ("reply_in_progress", "too_many_replies")


def send(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    """Insert a message and its reply, leased to `worker`; or find them, by client_id. Blocking.

    Raises APIError: 403, 404, 409, 422, 429, 503.
    """
    for _attempt in range(_ATTEMPTS):
        try:
            return _send_or_recover(request, owner, send_request, worker)
        except ConversationChanged:
            continue
    raise APIError(429, "too_many_replies", retry_after=1)


def _send_or_recover(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    """Send; if dead workers' replies are in the way, end those and send again."""
    try:
        return _send_once(request, owner, send_request, worker)
    except APIError as error:
        if error.code not in _BLOCKED_BY_REPLIES:
            raise
        # The same request, made twice at once: the reply in the way is its own.
        if found := find_sent(request, owner, send_request):
            return found
        if not _recover_replies(owner):
            raise
    return _send_once(request, owner, send_request, worker)


def _send_once(request: HttpRequest, owner: Owner, send_request: SendRequest, worker: str) -> Sent:
    if found := find_sent(request, owner, send_request):
        return found
    using = live_database()
    if send_request.stateless:
        send_request = with_conversation(owner, send_request, using)
    prepared = prepare(request, owner, in_chat(owner, send_request), using)
    insert = partial(insert_reply, prepared, owner.key, worker, using)
    with runner.expecting(prepared.reply.pk):
        for _attempt in range(_SLOT_ATTEMPTS):
            try:
                write_transaction(insert, using=using)
                return Sent(prepared.reply.pk, prepared.order)
            except IntegrityError:
                # Another request took the slot, which is no reason to prepare again, the client_id or the chat_id.
                if find_sent(request, owner, send_request):
                    break
                require_free_slot(owner.key, using)
        raise ConversationChanged


def _recover_replies(owner: Owner) -> bool:
    """End the owner's replies whose workers died; return whether there were any."""
    recovered, _more = recover_abandoned(LiveReply.objects.filter(owner_key=owner.key), may_go_on=True)
    return bool(recovered)
