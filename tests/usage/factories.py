"""Replies of a day, for tests of what is counted."""

from datetime import UTC, date, datetime, time, timedelta

from streaming_chat.models import Feedback
from streaming_chat.usage.days import today
from tests.factories import make_conversation, make_message, make_reply

DAY = date(2026, 3, 1)


def at(day=DAY, hour=12):
    return datetime.combine(day, time(hour), UTC)


def ago(days):
    return today() - timedelta(days=days)


def add_reply(day=DAY, text="Yes, **today**.", **fields):
    """Return a reply of that day, in a conversation of its own."""
    conversation = make_conversation()
    make_message(conversation, created_at=at(day))
    return make_reply(conversation, text, created_at=at(day), **fields)


def judge(reply, value, key="u:1"):
    Feedback.objects.create(message=reply, value=value, owner_key=key)
