"""Visitors, who chat without an account: a random id in the session's data, and an owner key derived from it.

Never the session's key: it changes at login before `user_logged_in` is sent, and signed-cookie sessions change it at each
save. The data outlive a login, and end with a logout or when another user signs in.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from django.contrib.auth import SESSION_KEY
from django.utils.crypto import salted_hmac

from streaming_chat.conf import conf

if TYPE_CHECKING:
    from django.http import HttpRequest

# 256 bits cannot be guessed.
_ID_BYTES = 32
_ID = "streaming_chat_visitor"
# The owner key of the visitor that this user was, once they have merged it.
_MERGED = "streaming_chat_merged_visitor"


def may_visit(request: HttpRequest) -> bool:
    """Return whether the request can be a visitor's: the site allows it, and there is a session, which is of no account.

    For Django a deactivated user is anonymous, but the session names the account until it ends. Such a user is no visitor: a
    person whom the site has locked out must not go on in the same browser under another name.
    """
    session = _session(request)
    user = getattr(request, "user", None)
    if not conf.STREAMING_CHAT_ALLOW_ANONYMOUS or session is None or (user is not None and user.is_authenticated):
        return False
    return SESSION_KEY not in session


def visitor_key(request: HttpRequest) -> str:
    """Return the owner key of the request's visitor, "" for none and for one without an id."""
    return session_key(request) if may_visit(request) else ""


def session_key(request: HttpRequest) -> str:
    """Return the owner key of the visitor whose id the session holds, also when a user has signed in since; else ""."""
    session = _session(request)
    visitor_id = session.get(_ID) if session is not None else None
    return _owner_key(visitor_id) if visitor_id else ""


def make_visitor(request: HttpRequest) -> str:
    """Put an id into the session unless it has one, and return the owner key. Call it before the response starts."""
    request.session.setdefault(_ID, secrets.token_hex(_ID_BYTES))
    return session_key(request)


def forget_visitor(request: HttpRequest, *, merged: bool = False) -> None:
    """Remove the id from the session. merged: the user owns what the visitor owned; see `merged_key`."""
    session = _session(request)
    if session is None or _ID not in session:
        return
    if merged:
        session[_MERGED] = session_key(request)
    del session[_ID]


def merged_key(request: HttpRequest) -> str:
    """Return the owner key of the visitor that was merged into the user in this session, "" for none.

    It owns nothing any more. A message that the visitor sent with a `client_id` is found by it if it is sent again.
    """
    session = _session(request)
    return session.get(_MERGED, "") if session is not None else ""


def _session(request: HttpRequest) -> Any:
    """Return the session; None on a site without sessions, and for a request without middleware."""
    return getattr(request, "session", None)


def _owner_key(visitor_id: str) -> str:
    return f"v:{salted_hmac('streaming_chat.visitors', visitor_id, algorithm='sha256').hexdigest()}"
