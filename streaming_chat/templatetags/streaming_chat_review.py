"""`{% load streaming_chat_review %}`: what the review bar's templates ask that takes an argument."""

from __future__ import annotations

import uuid

from django import template

from streaming_chat.admin.review_bar import Bar, Judged

register = template.Library()


@register.filter
def judged(bar: Bar, message: uuid.UUID) -> Judged:
    """Return what was said of a message."""
    return bar.of(message)
