"""The network of a request, by which clients without an account are limited together."""

from __future__ import annotations

from django.http import HttpRequest

from streaming_chat.quotas import get_quota
from streaming_chat.quotas.database import DatabaseQuota, is_proxy, network_of, remote_address


def network(request: HttpRequest) -> str:
    """Return a client's network, as the quota knows it; "" if only a proxy's is known."""
    quota = get_quota()
    if isinstance(quota, DatabaseQuota) and quota.has_own_address:
        return quota.network(request)
    address = remote_address(request)
    return "" if is_proxy(address, request.headers.get("X-Forwarded-For", "")) else network_of(address)
