"""Recognises the client of a request by its headers: `streaming_chat.asgi` shares out its threads before anything is read.

An owner is recognised by the credentials of an earlier request. A request with other credentials, or without any, counts for
its network address. This permits nothing: it only chooses a thread.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from streaming_chat.quotas.database import is_proxy, network_of

_MAX_KNOWN = 10_000
_CREDENTIALS = (b"cookie", b"authorization")

Scope = Mapping[str, Any]


class KnownClients:
    """The owners of this process's last requests. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork."""
        self._lock = threading.Lock()
        # Hash of the credentials -> owner key. Last used last.
        self._keys: OrderedDict[int, str] = OrderedDict()

    def remember(self, scope: Scope, owner_key: str) -> None:
        """Remember the owner of a request's credentials."""
        if not owner_key or not (credentials := _credentials(scope)):
            return
        with self._lock:
            self._keys[credentials] = owner_key
            self._keys.move_to_end(credentials)
            if len(self._keys) > _MAX_KNOWN:
                self._keys.popitem(last=False)

    def client_of(self, scope: Scope) -> str:
        """Return the owner key or the network of a request; "" if only a proxy's address is known."""
        if owner_key := self._keys.get(_credentials(scope)):
            return owner_key
        address, _port = scope.get("client") or ("", 0)
        forwarded = b",".join(_values(scope, (b"x-forwarded-for",))).decode("latin-1")
        return "" if is_proxy(address, forwarded) else f"network {network_of(address)}"


known_clients = KnownClients()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=known_clients.reset)


def _credentials(scope: Scope) -> int:
    """Return a hash of the headers that identify the client; 0 without any."""
    values = tuple(_values(scope, _CREDENTIALS))
    return hash(values) if values else 0


def _values(scope: Scope, names: Iterable[bytes]) -> Iterable[bytes]:
    return (value for name, value in scope.get("headers", ()) if name in names)
