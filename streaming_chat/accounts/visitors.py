"""Visitors, who chat without an account: a random id in their session's data, and the owner key that is made of it.

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

# 256 bits: nobody guesses the id of another.
_ID_BYTES = 32
_ID = "streaming_chat_visitor"
# The owner key of the visitor that this user was, once they have merged it.
_MERGED = "streaming_chat_merged_visitor"


def may_visit(request: HttpRequest) -> bool:
    """Return whether who asks may be a visitor: allowed by the site, with a session, which is of no account.

    Django takes a user who was deactivated for an anonymous one, but their session names the account until it ends.
    They are nobody: whom the site has shut out does not go on in the same browser under another name.
    """
    session = _session(request)
    user = getattr(request, "user", None)
    if not conf.STREAMING_CHAT_ALLOW_ANONYMOUS or session is None or (user is not None and user.is_authenticated):
        return False
    return SESSION_KEY not in session


def visitor_key(request: HttpRequest) -> str:
    """Return the owner key of the visitor who asks, "" when that is none, or one who has no id yet."""
    return session_key(request) if may_visit(request) else ""


def session_key(request: HttpRequest) -> str:
    """Return the owner key of the visitor whose id the session holds, also when a user has signed in since; else ""."""
    session = _session(request)
    visitor_id = session.get(_ID) if session is not None else None
    return _owner_key(visitor_id) if visitor_id else ""


def make_visitor(request: HttpRequest) -> str:
    """Put an id into the session unless it has one, and return the owner key. Call before the answer begins."""
    request.session.setdefault(_ID, secrets.token_hex(_ID_BYTES))
    return session_key(request)


def forget_visitor(request: HttpRequest, *, merged: bool = False) -> None:
    """Take the id out of the session. merged: what it owned is the user's now; see `merged_key`."""
    session = _session(request)
    if session is None or _ID not in session:
        return
    if merged:
        session[_MERGED] = session_key(request)
    del session[_ID]


def merged_key(request: HttpRequest) -> str:
    """Return the owner key under which the user wrote in this session before they merged, "" for none.

    It owns nothing any more. What they sent with a `client_id` before is found by it, when they send it again.
    """
    session = _session(request)
    return session.get(_MERGED, "") if session is not None else ""


def _session(request: HttpRequest) -> Any:
    """Return the session; None on a site without sessions, and for requests that no middleware has seen."""
    return getattr(request, "session", None)


def _owner_key(visitor_id: str) -> str:
    return f"v:{salted_hmac('streaming_chat.visitors', visitor_id, algorithm='sha256').hexdigest()}"
