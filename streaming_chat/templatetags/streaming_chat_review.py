"""`{% load streaming_chat_review %}`: what the review bar's templates need with an argument."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django import template

if TYPE_CHECKING:
    # Django imports every template tag of an app, also on a site without django.contrib.admin.
    from streaming_chat.admin.review_bar import ReviewBar, Verdicts

register = template.Library()


@register.filter
def verdicts_on(bar: ReviewBar, message: uuid.UUID) -> Verdicts:
    """Return the verdicts on a message."""
    return bar.verdicts_on(message)
