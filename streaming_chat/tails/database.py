"""A tail through the database: nothing to install.

Sound in one order only: read the message first. Ended: the rest from its parts. Live: its events beyond the position.
Neither: again, since it ended between the two looks.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db.models.functions import Now

from streaming_chat import events
from streaming_chat.models import LiveReply, Message, ReplyEvent, live_database

from .base import Reading, Tail

# Each process pushes it ahead every 5 s for what it follows; twice that forgives one late update.
_FOLLOWED = timedelta(seconds=10)
# A reply that ends or is settled in between takes two; where rows do not fit together, none would be enough.
_LOOKS = 5


class DatabaseTail(Tail):
    """Polls the rows of the database that live replies are written to."""

    def read(self, message_id: uuid.UUID, position: int) -> Reading:
        """Return what follows `position`; a reply whose worker died is settled on the way."""
        using = live_database()
        for _look in range(_LOOKS):
            message = Message.objects.using(using).filter(pk=message_id).first()
            if message is None:
                return Reading([], exists=False)
            if not message.is_live:
                rest = events.after(message.events(), position, 1)
                return Reading(list(rest), message.end_payload(), message.end_position)
            live = LiveReply.objects.using(using).filter(pk=message_id).first()
            if live is None:
                continue
            if LiveReply.objects.using(using).expired().filter(pk=message_id).exists():
                live.settle()
                continue
            return Reading(ReplyEvent.objects.using(using).stream(message_id, position))
        return Reading([])

    def follow(self, message_id: uuid.UUID) -> None:
        """Push the row's `followed_until` ahead."""
        LiveReply.objects.using(live_database()).filter(pk=message_id).update(followed_until=Now() + _FOLLOWED)
