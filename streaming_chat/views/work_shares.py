"""How much of this process's time each owner may take, so that nobody waits for long while another asks for everything.

The work of a request is the CPU time of its thread, which includes that of an SQLite database. It is charged to the owner
after the request. An owner who has taken too much is refused until enough time has passed, before anything of theirs is
read. So it does not matter what is expensive, nor how many requests are made of it.

The time that a thread waits is not charged: it waits for a busy database or for the interpreter, and both may be the work of
others. How much one owner asks of a database server at once is limited by the threads (`known_clients.py`).

Each process counts for itself: its one core is what it shares out.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest

from streaming_chat.accounts.authorization import has_authorization
from streaming_chat.accounts.networks import network
from streaming_chat.accounts.owners import Owner, is_new_visitor
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import SETTINGS, conf
from streaming_chat.db.alias import live_database
from streaming_chat.exceptions import APIError

from .known_clients import known_clients

# The most owners and networks with a debt; beyond that, the one that was charged longest ago is forgotten.
_MAX_CHARGED = 10_000
# What a reply costs as it is sent again, mostly in the server: 50 µs for each write of 2,048 code points.
_SECONDS_PER_UNIT = 25e-9

T = TypeVar("T")


class Share(NamedTuple):
    """How much work an owner or a network may take. burst: seconds at once. part: of a core, all the time."""

    burst: float
    part: float


# A page with its requests takes 50 to 150 ms, so a browser may open 30 tabs at once. A send takes 5 ms, so a program may
# send 1,000 times at once, and 50 times a second.
_OWNER = Share(burst=5.0, part=0.25)
# Of all visitors of a network together: one who drops the cookie is a new visitor with each request.
NETWORK = Share(burst=20.0, part=0.5)


def owner_share() -> Share:
    """Return what one owner may take: more in proportion where the site lets an owner have more live replies at once."""
    setting = SETTINGS["STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER"]
    factor = max(1.0, conf.STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER / setting.default)
    return Share(_OWNER.burst * factor, _OWNER.part * factor)


class WorkShares:
    """How much work each owner and network has taken. Thread-safe.

    clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork."""
        self._lock = threading.Lock()
        # key -> when its debt will be paid off. Last charged last.
        self._paid_off_at: OrderedDict[str, float] = OrderedDict()

    def require(self, shares: Mapping[str, Share]) -> None:
        """Raise APIError 429 if one of these has taken too much. shares: what each may take, by key."""
        if (longest := self.wait_seconds(shares)) > 0:
            raise APIError(429, "too_many_requests", retry_after=math.ceil(longest))

    def wait_seconds(self, shares: Mapping[str, Share]) -> float:
        """Return after how many seconds none of these has taken too much; 0 if none has."""
        now = self._clock()
        waits = [self._paid_off_at.get(key, now) - now - share.burst / share.part for key, share in shares.items()]
        return max(0.0, *waits) if waits else 0.0

    def charge(self, shares: Mapping[str, Share], seconds: float) -> None:
        """Charge each of these for so much work."""
        now = self._clock()
        with self._lock:
            for key, share in shares.items():
                self._paid_off_at[key] = max(now, self._paid_off_at.get(key, now)) + seconds / share.part
                self._paid_off_at.move_to_end(key)
            while self._paid_off_at and self._is_forgettable(now):
                self._paid_off_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._paid_off_at)

    def _is_forgettable(self, now: float) -> bool:
        """Return whether there are too many, or the one that was charged longest ago has no debt left."""
        return len(self._paid_off_at) > _MAX_CHARGED or next(iter(self._paid_off_at.values())) <= now


work_shares = WorkShares()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=work_shares.reset)


class MeasuredWork:
    """The work of a request in its thread while the block lasts, which is charged at its end."""

    def __init__(self) -> None:
        self._shares: Mapping[str, Share] = {}

    def __enter__(self) -> Self:
        self._began_at = time.thread_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shares:
            work_shares.charge(self._shares, time.thread_time() - self._began_at)

    def authenticate(self, request: HttpRequest, *, bearer_only: bool = False) -> Owner:
        """Return the owner, by the site's permissions. Raises APIError, 429 also before a new visitor gets a session.

        bearer_only: the session's cookie is not accepted, so 401 without an `Authorization` header.
        """
        if bearer_only and not has_authorization(request):
            raise APIError(401, "token_required")
        if is_new_visitor(request):
            self.require_share(request, Owner(None, ""))
        owner = get_permissions().authenticate(request)
        self.require_share(request, owner)
        return owner

    def require_share(self, request: HttpRequest, owner: Owner) -> None:
        """Raise APIError 429 if the owner has taken too much. All of this work is the owner's in any case."""
        if isinstance(request, ASGIRequest):
            known_clients.remember(request.scope, owner.key)
        self._shares = _shares_of(request, owner)
        work_shares.require(self._shares)

    def charge_to(self, key: str) -> None:
        """Charge an owner by key, "" for nobody, and refuse nothing."""
        self._shares = {key: owner_share()} if key else {}


def _shares_of(request: HttpRequest, owner: Owner) -> dict[str, Share]:
    """Return what is charged for a request: the owner, and for a visitor the network. None inside a site's TestCase."""
    if connections[live_database()].in_atomic_block:
        # Its requests are all of one owner, and as fast as they can be.
        return {}
    shares = {owner.key: owner_share()} if owner.key else {}
    if owner.user is None and (client_network := network(request)):
        shares[f"network {client_network}"] = NETWORK
    return shares


def charge_replay(key: str, units: int) -> None:
    """Charge an owner for so many units of a reply that are sent again."""
    if key and units > 0:
        work_shares.charge({key: owner_share()}, units * _SECONDS_PER_UNIT)


def download_pause(key: str) -> float:
    """Return for how many seconds an owner's download must pause: the other half of the share is for other requests."""
    share = owner_share()
    return work_shares.wait_seconds({key: share._replace(burst=share.burst / 2)})


def charged_to(key: str, function: Callable[..., T]) -> Callable[..., T]:
    """Return a function that does the same at an owner's charge."""

    def charged(*args: Any) -> T:
        with MeasuredWork() as work:
            work.charge_to(key)
            return function(*args)

    return charged
