"""Reviews of seeded conversations: finished by three reviewers, with verdicts, labels, corrected answers and notes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model

from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, Message, Review, ReviewNotes, ReviewState, Verdict
from streaming_chat.search.tokenizer import words

LABELS = ("wrong", "incomplete", "rude")
_NAMES = tuple(f"reviewer{number}@example.com" for number in range(1, 4))
# One conversation in so many is reviewed, and one of these by a second person.
_REVIEWED_ONE_IN, _TWICE_ONE_IN = 10, 5
_VALUES = (Verdict.Value.GOOD, Verdict.Value.BAD, Verdict.Value.UNCLEAR, Verdict.Value.UNSAFE)
_NOTES = ("Asked twice.", "The answer names the wrong delivery date.", "Nothing to do.", "Forwarded to the shop.")


def reviewers() -> Sequence[Any]:
    """Return the reviewers, made where they are missing. They cannot sign in, and have no permission."""
    users = get_user_model()._default_manager.using(live_database())
    field = get_user_model().USERNAME_FIELD
    found = {getattr(user, field) for user in users.filter(**{f"{field}__in": _NAMES})}
    users.bulk_create([users.model(**{field: name, "password": "!"}) for name in _NAMES if name not in found])
    return list(users.filter(**{f"{field}__in": _NAMES}).order_by("pk"))


class Reviews:
    """Rows of one transaction."""

    def __init__(self, chance: random.Random, by: Sequence[Any]) -> None:
        self._chance = chance
        self._by = by
        self._reviews: list[Review] = []
        self._notes: list[ReviewNotes] = []
        self._verdicts: list[Verdict] = []

    def add(self, conversation: Conversation, messages: Sequence[Message]) -> None:
        """Review one conversation in ten. messages: all of it."""
        if self._chance.randrange(_REVIEWED_ONE_IN):
            return
        first, second = self._chance.sample(self._by, 2)
        when = conversation.last_activity + timedelta(hours=2)
        reply = self._chance.choice([message for message in messages if message.is_reply])
        self._judge(conversation, reply, first, when)
        if not self._chance.randrange(_TWICE_ONE_IN):
            self._judge(conversation, reply, second, when)
        self._finish(conversation, messages[-1], first, when)

    def _judge(self, conversation: Conversation, reply: Message, by: Any, when: datetime) -> None:
        value = self._chance.choices(_VALUES, (6, 3, 1, 0.1))[0]
        verdict = Verdict(
            conversation=conversation, message=reply, by=by, value=value, created_at=when, updated_at=when
        )
        if value == Verdict.Value.BAD:
            verdict.labels = [self._chance.choice(LABELS)]
            verdict.correction = reply.text[:100] or "Please ask again."
        self._verdicts.append(verdict)

    def _finish(self, conversation: Conversation, newest: Message, by: Any, when: datetime) -> None:
        notes = self._chance.choice(_NOTES)
        needed = conversation.needs_attention
        conversation.review_state, conversation.needs_attention = ReviewState.DONE, False
        self._notes.append(
            ReviewNotes(conversation=conversation, by=by, text=notes, words=words(notes), created_at=when)
        )
        review = Review(conversation=conversation, done_by=by, done_at=when, through=newest, notes=notes, changed_by=by)
        review.version, review.needed_attention = 1, needed
        self._reviews.append(review)

    def save(self, using: str) -> None:
        """Save all rows, after their conversations and messages."""
        for model, rows in ((Review, self._reviews), (ReviewNotes, self._notes), (Verdict, self._verdicts)):
            model._default_manager.using(using).bulk_create(rows)
