"""How the admin writes numbers (rounded, with thousands separators, and "–" for unknown values) and owners."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.utils.formats import date_format, localize, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.models import Conversation


def decimal(value: float | Decimal, places: int) -> str:
    """Return a number rounded to this many decimal places."""
    # number_format() truncates.
    return number_format(round(Decimal(value), places), decimal_pos=places, force_grouping=True)


def money(dollars: float | Decimal | None) -> str:
    """Return dollars: two places, or as many as show two digits of a small sum; "–" for unknown."""
    if dollars is None:
        return "–"
    amount = Decimal(str(dollars))
    places = 2 if amount >= 1 or not amount else min(8, max(2, 1 - amount.adjusted()))
    return f"${decimal(amount, places)}"


def short_time(moment: datetime) -> str:
    """Return a date and time for a column of a list, which has little room: 11/30/2026 2:03 p.m."""
    return date_format(localtime(moment), "SHORT_DATETIME_FORMAT")


def count(value: float) -> str:
    """Return a whole number."""
    return decimal(value, 0)


def milliseconds(count: int | None) -> str:
    """Return milliseconds in words; "" for unknown."""
    return "" if count is None else _("{count} ms").format(count=localize(count))


def share(part: int, whole: int) -> str:
    """Return a percentage with one decimal place; "–" of nothing."""
    if not whole:
        return "–"
    return _("{percent} %").format(percent=decimal(100 * part / whole, 1))


def uncosted(replies: int) -> str:
    """Return how many replies have no known cost; "" for none."""
    text = ngettext("{count} reply has no known cost.", "{count} replies have no known cost.", replies)
    return text.format(count=count(replies)) if replies else ""


def owner_name(conversation: Conversation) -> str:
    """Return the username of a conversation's owner, or that they are a visitor or erased."""
    if conversation.owner is not None:
        return str(conversation.owner.get_username())
    return _("[erased]") if conversation.erased_at else _("visitor")


def title_of(conversation: Conversation) -> str:
    """Return a conversation's title, or how it is named without one. Only for users who may read it."""
    return conversation.title or (_("[erased]") if conversation.erased_at else str(conversation))
