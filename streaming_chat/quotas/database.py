"""Limits per day (UTC) for each owner, network address and the site, in the site's own database.

There is one row for each key and day; a rolling day would need a row per hour, and their sum. A limit is exact, however many
requests arrive at once: a conditional UPDATE takes what is left, or changes nothing if that is too little.
"""

from __future__ import annotations

import ipaddress
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.transactions import write_transaction
from streaming_chat.exceptions import APIError
from streaming_chat.models import QuotaUse

from .base import Quota, Reconciliation

# A reply that began yesterday is reconciled on yesterday's row. Older rows have no use.
_KEPT = timedelta(days=2)
# Each new row removes so many old ones: more than one, so that there are fewer in the end.
_OLD_ROWS = 10
# One customer has at least a /64, which is 2^64 IPv6 addresses (RFC 6177).
_IPV6_NETWORK = 64

OWNER, VISITOR, ADDRESS, SITE = "owner", "visitor", "address", "site"
_API_ERRORS: dict[str, str | Promise] = {
    OWNER: _("You have used what you may for today. Try again tomorrow."),
    VISITOR: _("You have used what a visitor may for today. Sign in, or try again tomorrow."),
    ADDRESS: _("Your network has used what visitors may for today. Sign in, or try again tomorrow."),
    SITE: _("This site has answered as much as it may for today. Try again tomorrow."),
}


class Limit(NamedTuple):
    """The maximum of a day; None is unlimited."""

    replies: int | None
    tokens: int | None

    @property
    def is_there(self) -> bool:
        """Whether anything is limited, and so has to be counted."""
        return self.replies is not None or self.tokens is not None


def remote_address(request: HttpRequest) -> str:
    """Return the address of the connection: the proxy's, unless the server is configured to use the client's."""
    return request.META.get("REMOTE_ADDR", "")


class DatabaseQuota(Quota):
    """Counts replies and tokens. What is not limited is not counted. By default, only visitors are limited.

    owner_replies, owner_tokens: The limit for each user.
    visitor_replies, visitor_tokens: The limit for each visitor.
    address_replies, address_tokens: The limit for all visitors of one network address together, since a visitor who deletes
        the cookie is a new visitor. Users do not count here: they are known by their account, and an office shares an
        address.
    site_replies, site_tokens: The limit for all users and visitors together.
    address: The dotted path of a function that takes the request and returns the client's address. See [Quotas behind
        proxies](deployment.md#quotas-behind-proxies).
    """

    def __init__(
        self,
        *,
        owner_replies: int | None = None,
        owner_tokens: int | None = None,
        visitor_replies: int | None = 20,
        visitor_tokens: int | None = 100_000,
        address_replies: int | None = 60,
        address_tokens: int | None = 300_000,
        site_replies: int | None = None,
        site_tokens: int | None = None,
        address: str = "streaming_chat.quotas.database.remote_address",
    ) -> None:
        self._limits = {
            OWNER: Limit(_checked("owner_replies", owner_replies), _checked("owner_tokens", owner_tokens)),
            VISITOR: Limit(_checked("visitor_replies", visitor_replies), _checked("visitor_tokens", visitor_tokens)),
            ADDRESS: Limit(_checked("address_replies", address_replies), _checked("address_tokens", address_tokens)),
            SITE: Limit(_checked("site_replies", site_replies), _checked("site_tokens", site_tokens)),
        }
        self._address: Callable[[HttpRequest], str] = import_string(address)

    @property
    def has_own_address(self) -> bool:
        """Whether the site has a function of its own for the client's address."""
        return self._address is not remote_address

    def network(self, request: HttpRequest) -> str:
        """Return the client's network."""
        return network_of(str(self._address(request) or ""))

    def plan(self, request: HttpRequest, owner_key: str, *, input_tokens: int, output_tokens: int) -> Any:
        """Return the day, the keys that the reply counts for with their scopes, and the tokens."""
        day = timezone.now().astimezone(UTC).date()
        keys = {key: scope for scope, key in self._keys(request, owner_key, day) if self._limits[scope].is_there}
        return {"day": day.isoformat(), "keys": keys, "input": input_tokens, "tokens": input_tokens + output_tokens}

    def reserve(self, plan: Any, using: str) -> None:
        """Count one reply and its tokens for each key, in the order of the keys."""
        day, tokens = date.fromisoformat(plan["day"]), plan["tokens"]
        for key, scope in sorted(plan["keys"].items()):
            if not self._take(key, scope, day, tokens, using):
                raise APIError(429, "quota_exceeded", _API_ERRORS[scope], retry_after=_seconds_until_after(day))

    def reconcile(self, reconciliations: Sequence[Reconciliation], using: str) -> None:
        """Add or subtract the difference, once for each key, in the order of the keys."""
        changes: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for reservation, input_tokens, output_tokens, is_void in reconciliations:
            if not isinstance(reservation, dict) or "keys" not in reservation:
                continue
            used = (reservation["input"] if input_tokens is None else input_tokens) + output_tokens
            for key in reservation["keys"]:
                change = changes[reservation["day"], key]
                change[0] -= is_void
                change[1] += (0 if is_void else used) - reservation["tokens"]
        for (day, key), (replies, tokens) in sorted(changes.items()):
            # Greatest: a row that was changed by hand must not make an ending fail.
            QuotaUse.objects.using(using).filter(day=date.fromisoformat(day), key=key).update(
                replies=Greatest(F("replies") + replies, 0), tokens=Greatest(F("tokens") + tokens, 0)
            )

    def _keys(self, request: HttpRequest, owner_key: str, day: date) -> list[tuple[str, str]]:
        """Return the scopes that a reply counts for, each with its key."""
        keys = [(SITE, "site")]
        if not owner_key.startswith("v:"):
            return [*keys, (OWNER, f"owner {owner_key}")]
        keys.append((VISITOR, f"owner {owner_key}"))
        if self._limits[ADDRESS].is_there:
            # Without an address, all visitors count as one.
            keys.append((ADDRESS, f"address {_hashed(self.network(request), day)}"))
        return keys

    def _take(self, key: str, scope: str, day: date, tokens: int, using: str) -> bool:
        """Count one more reply and its tokens; return whether so much was left."""
        limit = self._limits[scope]
        uses = QuotaUse.objects.using(using).filter(day=day, key=key)
        enough = Q()
        if limit.replies is not None:
            enough &= Q(replies__lt=limit.replies)
        if limit.tokens is not None:
            enough &= Q(tokens__lte=limit.tokens - tokens)
        taken = partial(uses.filter(enough).update, replies=F("replies") + 1, tokens=F("tokens") + tokens)
        if taken():
            return True
        # Either too little is left, or this is the first reply of the day. The others wait for the one that inserts the row.
        QuotaUse.objects.using(using).bulk_create([QuotaUse(day=day, key=key)], ignore_conflicts=True)
        if not taken():
            return False
        transaction.on_commit(partial(_remove_old, day, using), using=using, robust=True)
        return True


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address. Other texts are unchanged."""
    try:
        parsed = ipaddress.ip_address(address.strip().partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def is_proxy(address: str, forwarded_for: str) -> bool:
    """Return whether all visitors seem to have this address: the site's own proxy has it.

    They would share what one network may take, and an attacker could lock them all out. A proxy names the client it asks
    for in X-Forwarded-For. Anybody can write that header, but not from a private address over the Internet.
    """
    try:
        is_public = ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return True
    return not is_public and bool(forwarded_for) and address not in forwarded_for


def _hashed(network: str, day: date) -> str:
    """Return a hash that cannot be found in a table of all addresses, and differs from day to day."""
    return salted_hmac("streaming_chat.quotas.address", f"{day} {network}", algorithm="sha256").hexdigest()


def _seconds_until_after(day: date) -> int:
    """Return the seconds until this day ends (UTC)."""
    end = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    return max(1, math.ceil((end - timezone.now()).total_seconds()))


def _remove_old(day: date, using: str) -> None:
    """Remove a few rows of past days, except those that another transaction is removing."""
    old = QuotaUse.objects.using(using).filter(day__lt=day - _KEPT).order_by("day", "key")
    if connections[using].features.has_select_for_update_skip_locked:
        old = old.select_for_update(skip_locked=True)
    write_transaction(QuotaUse.objects.using(using).filter(pk__in=old.values("pk")[:_OLD_ROWS]).delete, using=using)


def _checked(name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{name} must be None or a whole number, 0 or more, got {type(value).__name__}")
