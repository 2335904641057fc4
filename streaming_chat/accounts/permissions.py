"""Who may read, send, stop, and use which model: one method for each, replaceable by STREAMING_CHAT_PERMISSIONS.

A method returns whether it is allowed, or raises APIError for another status than 403, such as 429 with a time to wait.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from streaming_chat.backends import Backend, BackendSetting
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation

from .access_tokens import is_valid_now
from .authorization import SAFE_METHODS, authorize, find_access_token, has_authorization, is_authorized, token_of
from .owners import Owner, make_visitor, may_visit, request_key, session_key, user_key


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, which returns its reason instead of an HTML page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


class Permissions(Backend):
    """Active users, and visitors if ALLOW_ANONYMOUS is on, may do everything with what they own."""

    def identify(self, request: HttpRequest) -> Owner:
        """Return the owner, for pages that only show. Raises APIError: 401 not_signed_in or invalid_token.

        A request with an `Authorization` header is judged by it alone: its cookies are not looked at.
        """
        if has_authorization(request):
            user = authorize(request, self.find_token_user)
            return Owner(user, user_key(user))
        if may_visit(request):
            return Owner(None, session_key(request))
        if key := request_key(request):
            return Owner(request.user, key)
        raise APIError(401, "not_signed_in")

    def find_token_user(self, request: HttpRequest) -> Any:
        """Return the user of the request's `Authorization` header, None if it is not valid.

        Override it for tokens of another kind. By default it is the owner of an access token of the app.
        """
        token = find_access_token(request)
        request.streaming_chat_token = token  # type: ignore[attr-defined]  # read by token_of
        return token and token.owner

    def authenticate(self, request: HttpRequest) -> Owner:
        """Return the owner, for the API. Raises APIError: 401 not_signed_in or invalid_token, 403 csrf_failed.

        The browser sends the session's cookie with requests of other sites, too, so an unsafe request needs the CSRF token.
        It is checked here, so that the answer is JSON and the site's middleware is not required.

        A visitor gets an id with an unsafe request only, so that crawlers create no sessions.
        """
        owner = self.identify(request)
        self.check_csrf(request)
        if not owner.key and request.method not in SAFE_METHODS:
            return Owner(None, make_visitor(request))
        return owner

    def check_csrf(self, request: HttpRequest) -> None:
        """Raise APIError for an unsafe request without the token, unless the request has an `Authorization` header."""
        if is_authorized(request):
            # A browser never adds this header by itself, so another site cannot forge the request.
            return
        check = _CsrfCheck(lambda request: None)  # type: ignore[arg-type]  # process_view alone is called
        check.process_request(request)
        # The view is exempt from the site's own check, which would answer in HTML.
        if check.process_view(request, None, (), {}):  # type: ignore[arg-type]  # no callback: none is exempt
            raise APIError(403, "csrf_failed")

    def may_read(self, request: HttpRequest, owner: Owner) -> bool:
        """Whether they may read their conversations."""
        return True

    def may_send(self, request: HttpRequest, owner: Owner, conversation: Conversation | None) -> bool:
        """Whether they may send; None: in a new conversation."""
        return True

    def may_stop(self, request: HttpRequest, owner: Owner, conversation: Conversation) -> bool:
        """Whether they may end a reply of this conversation of theirs."""
        return True

    def may_answer(self, request: HttpRequest, owner: Owner, conversation: Conversation) -> bool:
        """Whether they may allow the tool calls of this conversation of theirs, or return what a client's tool found."""
        return True

    def may_use_model(self, request: HttpRequest, owner: Owner, model: str) -> bool:
        """Whether they may use this model, which STREAMING_CHAT_MODELS allows."""
        return True

    def may_create_tokens(self, request: HttpRequest, owner: Owner) -> bool:
        """Whether they may create access tokens, on the page and in the admin."""
        return True

    def may_share(self, request: HttpRequest, owner: Owner, conversation: Conversation | None) -> bool:
        """Whether they may share this conversation by a link, if STREAMING_CHAT_SHARING is on; None: any of theirs.

        Visitors may not: everybody could publish something on the site, and nobody would have to answer for it.
        """
        return owner.user is not None

    def may_set_system_prompt(self, request: HttpRequest, owner: Owner) -> bool:
        """Whether they may choose the system prompt of their own new conversations."""
        return False


_permissions = BackendSetting[Permissions]("STREAMING_CHAT_PERMISSIONS")


def get_permissions() -> Permissions:
    """Return the backend of STREAMING_CHAT_PERMISSIONS, created at its first use."""
    return _permissions.get()


def may_create_tokens(request: HttpRequest, owner: Owner) -> bool:
    """Return whether the owner may create access tokens. A token must not create another one, which would outlive it."""
    if owner.user is None or is_authorized(request):
        return False
    return get_permissions().may_create_tokens(request, owner)


def may_answer(request: HttpRequest, owner: Owner, conversation: Conversation) -> bool:
    """Return whether to ask the owner about tool calls of this conversation; False also if `may_answer` raises APIError."""
    try:
        return get_permissions().may_answer(request, owner, conversation)
    except APIError:
        return False


def still_may_read(request: HttpRequest, owner: Owner) -> Callable[[], bool] | None:
    """Return a function that asks `may_read` again, about the user as saved then; None if nothing restricts reading.

    For streams, which may last longer than a permission, or an access token.
    """
    if token_of(request) is None and type(get_permissions()).may_read is Permissions.may_read:
        return None
    return partial(may_read_now, request, owner)


def may_read_now(request: HttpRequest, owner: Owner) -> bool:
    """Return whether the owner of a request that began some time ago may still read. Blocking.

    False if the access token has expired or was revoked, or the user was deactivated or deleted.
    """
    token = token_of(request)
    if token is not None and not is_valid_now(token.pk):
        return False
    try:
        if owner.user is None:
            return get_permissions().may_read(request, owner)
        if (renewed := with_renewed_user(request, owner.user)) is None or not renewed.user.is_active:
            return False
        return get_permissions().may_read(renewed, Owner(renewed.user, owner.key))
    except APIError:
        return False


def with_renewed_user(request: HttpRequest, user: Any) -> HttpRequest | None:
    """Return a copy of a request with its user read again, without the permissions that are cached; None if deleted."""
    if (found := get_user_model()._default_manager.filter(pk=user.pk).first()) is None:
        return None
    renewed = copy.copy(request)
    renewed.user = found
    return renewed
