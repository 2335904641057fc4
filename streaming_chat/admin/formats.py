"""Number formats: rounded, with thousands separators, and "–" for unknown values."""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format


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
