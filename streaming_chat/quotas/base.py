"""What a quota promises: before a reply begins, what it may take is reserved; when it ends, what it took is kept.

A reservation is a JSON value of the quota's own, which stands on the reply's row: whichever process ends the reply hands
it back. What another backend reserved may come, too, when a site has just changed it: leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.http import HttpRequest

from streaming_chat.backends import Backend

_CHARS_PER_TOKEN = 4


def tokens_in(chars: int) -> int:
    """Return about how many tokens a text of this length is, where nobody has counted."""
    return -(-chars // _CHARS_PER_TOKEN)


class Reconciliation(NamedTuple):
    """What became of one reservation.

    input_tokens: None where nobody counted: what was reserved for them is the best guess. output_tokens: exact, or
    estimated from the text. is_void: nothing was received and something broke, so the reply counts for nothing.
    """

    reservation: Any
    input_tokens: int | None
    output_tokens: int
    is_void: bool


class Quota(Backend):
    """Limits nothing by itself. Made once in a process, with its OPTIONS; to make one asks nobody for anything.

    The methods are called in order: `plan`, `reserve`, then, whenever the reply has ended, `settle`. The last two are
    part of their caller's transaction, and its last statements, so that rows which many share are locked for the
    shortest time. Each must lock its rows in one order, the same in both, or two transactions wait for each other.
    """

    def plan(self, request: HttpRequest, owner_key: str, *, input_tokens: int, output_tokens: int) -> Any:
        """Return what `reserve` is to reserve for a reply, as a JSON value. Asks nobody.

        owner_key: `u:<pk>` of a user, `v:<hmac>` of a visitor. input_tokens, output_tokens: the most that is expected.
        request: a bare one with `request.user` where the site's own code sends (`sending.send_message`).
        """
        return {}

    def reserve(self, plan: Any, using: str) -> None:
        """Take it from what is left, in the database `using`.

        Raises APIError: 429 quota_exceeded, with a text for people and seconds until it will be better.
        """

    def settle(self, reconciliations: Sequence[Reconciliation], using: str) -> None:
        """Replace what was reserved by what was used. Raises nothing but the database's errors."""
