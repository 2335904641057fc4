"""Owners: the key under which a user or a visitor owns conversations.

A visitor chats without an account: a random id is in the session's data, and the owner key is derived from it. It is never
the session's key: that changes at login before `user_logged_in` is sent, and signed-cookie sessions change it at each save.
The data outlive a login, and end with a logout or when another user signs in.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from streaming_chat.conf import conf

from .authorization import has_authorization, token_of
from .session_user import load_user

# 256 bits cannot be guessed.
_ID_BYTES = 32
_ID = "streaming_chat_visitor"
# The owner key of the visitor that this user was, once they have merged it.
_MERGED = "streaming_chat_merged_visitor"


def user_key(user: Any) -> str:
    """Return the owner key of a user."""
    return f"u:{user.pk}"


def request_key(request: HttpRequest) -> str:
    """Return the owner key of the request's user or visitor, "" for neither and for a visitor without an id."""
    user = _user(request)
    if user is not None and user.is_authenticated:
        return user_key(user) if user.is_active else ""
    return session_key(request) if may_visit(request) else ""


class Owner(NamedTuple):
    """The user or visitor of a request.

    user: None for a visitor. key: as Conversation.owner_key, "" before a visitor has an id.
    """

    user: Any
    key: str


def may_visit(request: HttpRequest) -> bool:
    """Return whether the request can be a visitor's: the site allows it, and there is a session, which is of no account.

    For Django a deactivated user is anonymous, but the session names the account until it ends. Such a user is no visitor: a
    person whom the site has locked out must not go on in the same browser under another name.
    """
    session = _session(request)
    if not conf.STREAMING_CHAT_ALLOW_ANONYMOUS or session is None:
        return False
    user = _user(request)
    if user is not None and user.is_authenticated:
        return False
    return SESSION_KEY not in session


def is_new_visitor(request: HttpRequest) -> bool:
    """Return whether the request can be a visitor's, who has no id yet."""
    return may_visit(request) and not _session(request).get(_ID)


def session_key(request: HttpRequest) -> str:
    """Return the owner key of the visitor whose id the session holds, also when a user has signed in since; else ""."""
    session = _session(request)
    visitor_id = session.get(_ID) if session is not None else None
    return _owner_key(visitor_id) if visitor_id else ""


def make_visitor(request: HttpRequest) -> str:
    """Put an id into the session unless it has one, and return the owner key. Call it before the response starts."""
    request.session.setdefault(_ID, secrets.token_hex(_ID_BYTES))
    return session_key(request)


def client_of(request: HttpRequest, owner: Owner) -> str:
    """Return the same text for all requests with one access token, or else of one session; "" without either."""
    if (token := token_of(request)) is not None:
        return f"token {token.pk}"
    if owner.user is None:
        # Some sessions change their key each time they are saved.
        return f"visitor {owner.key}"
    session = _session(request)
    return f"session {session.session_key}" if session is not None and session.session_key else ""


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


def _user(request: HttpRequest) -> Any:
    """Return the user, who is anonymous if nobody has signed in; None on a site without users."""
    load_user(request)
    return getattr(request, "user", None)


def _session(request: HttpRequest) -> Any:
    """Return the session; None on a site without sessions, and for a request that is judged by its header alone."""
    return None if has_authorization(request) else getattr(request, "session", None)


def _owner_key(visitor_id: str) -> str:
    return f"v:{salted_hmac('streaming_chat.visitors', visitor_id, algorithm='sha256').hexdigest()}"
