"""Saves alerts, once for each thing that they are about, in the transaction of what they are about.

An alert that is saved is sent, also after a restart: sender.py takes it from the table. Other modules call the functions for
what happened; each does nothing unless its setting asks for the alert.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.hooks import Hook
from streaming_chat.db.transactions import savepoint
from streaming_chat.models import Alert
from streaming_chat.signals import alert_raised, announce

# For as long as the same alert is not raised again.
_KEPT = timedelta(days=90)
# An alert was saved: it can be sent.
alert_saved: Hook[[], object] = Hook()


def channels() -> list[str]:
    """Return the names of the channels that are configured."""
    configured = {"webhook": conf.STREAMING_CHAT_ALERT_WEBHOOK_URL, "email": conf.STREAMING_CHAT_ALERT_EMAILS}
    return [name for name, value in configured.items() if value]


def put(kind: str, key: str, data: dict[str, Any], *, owner_key: str = "") -> bool:
    """Save an alert, and send `alert_raised` after the commit; False if there is one with this key.

    data: ids, numbers and names of settings, which are sent. owner_key: of the owner whom it is about.
    """
    using = live_database()
    pending = channels()
    alert = Alert(key=key[:255], kind=kind, data=data, owner_key=owner_key, pending=pending)
    if pending:
        alert.next_attempt_at = Now()
    try:
        with savepoint(using):
            alert.save(using=using, force_insert=True)
    except IntegrityError:
        return False
    Alert.objects.using(using).filter(next_attempt_at=None, created_at__lt=Now() - _KEPT).delete()
    transaction.on_commit(partial(_raised, alert.pk, kind, data), using=using)
    return True


def _raised(pk: uuid.UUID, kind: str, data: dict[str, Any]) -> None:
    announce(alert_raised, Alert, alert=pk, kind=kind, data=data)
    alert_saved()


def reply_rated_bad(message_id: uuid.UUID, conversation_id: uuid.UUID) -> None:
    """Raise the alert for a thumbs down, once for each reply."""
    if conf.STREAMING_CHAT_ALERT_ON_BAD_FEEDBACK:
        data = {"conversation": str(conversation_id), "message": str(message_id)}
        put(Alert.Kind.FEEDBACK, f"feedback:{message_id}", data)


def labels_given(labels: Iterable[str], conversation_id: uuid.UUID, message_id: uuid.UUID | None) -> None:
    """Raise the alerts for labels, once for each label of a message, or of a conversation as a whole."""
    about = {"conversation": str(conversation_id), **({"message": str(message_id)} if message_id else {})}
    for label in sorted(set(labels) & set(conf.STREAMING_CHAT_ALERT_LABELS)):
        put(Alert.Kind.LABEL, f"label:{message_id or conversation_id}:{label}", {"label": label, **about})
