"""What a quota promises: the expected use of a reply is reserved before it begins, and replaced by the real use at its end.

A reservation is a JSON value that only the quota understands. It is stored with the reply, and passed back by whichever
process ends the reply. It may be a reservation of another backend, if the site has just changed the setting: ignore that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.http import HttpRequest

from streaming_chat.backends import Backend

_CHARS_PER_TOKEN = 4


def tokens_in(chars: int) -> int:
    """Return an estimate of the tokens in a text of this length."""
    return -(-chars // _CHARS_PER_TOKEN)


class Reconciliation(NamedTuple):
    """The real use of one reservation.

    input_tokens: None if the provider did not report it; then the reserved number is the best estimate.
    output_tokens: exact, or estimated from the text.
    is_void: the reply failed before anything was received, so it does not count.
    """

    reservation: Any
    input_tokens: int | None
    output_tokens: int
    is_void: bool


class Quota(Backend):
    """The base of all quotas, which limits nothing.

    `plan`, `reserve` and, once the reply has ended, `reconcile` are called in this order. The last two are the last
    statements of their caller's transaction, so that rows shared by many replies are locked for the shortest time. Both must
    lock rows in the same order; otherwise two transactions can deadlock.
    """

    def plan(self, request: HttpRequest, owner_key: str, *, input_tokens: int, output_tokens: int) -> Any:
        """Return what `reserve` should reserve for a reply, as a JSON value. Runs before the transaction of `reserve`.

        request: has only `user` if the site's own code sends (`shortcuts.send_message`).
        owner_key: `u:<pk>` of a user, `v:<hmac>` of a visitor.
        input_tokens, output_tokens: the most that is expected.
        """
        return {}

    def reserve(self, plan: Any, using: str) -> None:
        """Reserve it in the database `using`.

        Raises APIError: 429 quota_exceeded, with a text for the user and the seconds to wait.
        """

    def reconcile(self, reconciliations: Sequence[Reconciliation], using: str) -> None:
        """Replace what was reserved by what was used. Raises only errors of the database."""
