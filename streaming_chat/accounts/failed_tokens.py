"""Limits how many requests with an invalid token one network may send, so that nobody can try out tokens.

Each process counts for itself. Credentials that were valid before are looked up in any case: a program whose token has
expired must not shut out the others of its network.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from django.db import connections
from django.http import HttpRequest

from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError

from .networks import network

# So many at once, then one every SECONDS_PER_FAILURE seconds.
BURST = 20
SECONDS_PER_FAILURE = 3.0
# The most networks, and the most valid credentials, that are remembered.
_MAX_KNOWN = 10_000


class FailedTokens:
    """The failures of each network, and the credentials that were valid. Thread-safe.

    clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork."""
        self._lock = threading.Lock()
        # network -> when its failures will be forgotten.
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()
        # Hashes of credentials.
        self._valid: OrderedDict[int, None] = OrderedDict()

    def require(self, network: str, credentials: int) -> None:
        """Raise APIError 429 if the network has had too many failures."""
        now = self._clock()
        wait = self._forgotten_at.get(network, now) - now - (BURST - 1) * SECONDS_PER_FAILURE
        if wait > 0 and credentials not in self._valid:
            raise APIError(429, "too_many_requests", retry_after=math.ceil(wait))

    def note_failure(self, network: str, credentials: int) -> None:
        """Count a failure; without a network, the client is behind a proxy that all clients may share."""
        now = self._clock()
        with self._lock:
            self._valid.pop(credentials, None)
            if network:
                self._forgotten_at[network] = max(now, self._forgotten_at.pop(network, now)) + SECONDS_PER_FAILURE
                _limit(self._forgotten_at)

    def note_success(self, credentials: int) -> None:
        """Remember valid credentials."""
        with self._lock:
            self._valid[credentials] = None
            self._valid.move_to_end(credentials)
            _limit(self._valid)


def _limit(known: OrderedDict[str, float] | OrderedDict[int, None]) -> None:
    if len(known) > _MAX_KNOWN:
        known.popitem(last=False)


failed_tokens = FailedTokens()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=failed_tokens.reset)


class Attempt:
    """One request with credentials in its header."""

    def __init__(self, request: HttpRequest) -> None:
        """Raises APIError 429 after too many failures of its network."""
        # All requests of a site's TestCase have one address, and are as fast as they can be.
        self._network = "" if connections[live_database()].in_atomic_block else network(request)
        self._credentials = hash(request.META["HTTP_AUTHORIZATION"])
        failed_tokens.require(self._network, self._credentials)

    def succeeded(self) -> None:
        """Note that the credentials are valid."""
        failed_tokens.note_success(self._credentials)

    def failed(self) -> None:
        """Note that they are not."""
        failed_tokens.note_failure(self._network, self._credentials)
