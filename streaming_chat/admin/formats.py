"""How the admin writes numbers (rounded, with thousands separators, and "–" for unknown values) and owners."""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

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


def count(value: float) -> str:
    """Return a whole number."""
    return decimal(value, 0)


def share(part: int, whole: int) -> str:
    """Return a percentage with one decimal place; "–" of nothing."""
    if not whole:
        return "–"
    return _("{percent} %").format(percent=decimal(100 * part / whole, 1))


def owner_name(conversation: Conversation) -> str:
    """Return the username of a conversation's owner, or that they are a visitor or erased."""
    if conversation.owner is not None:
        return str(conversation.owner.get_username())
    return _("erased") if conversation.erased_at else _("visitor")
