"""Checks Django's own settings: what the chat needs of the site around it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004  (Django's own name)
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from django.utils.module_loading import import_string

from streaming_chat.conf import SETTINGS, conf

from .tag import TAG

SESSION_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
_MIDDLEWARE = {
    "SessionMiddleware": SESSION_MIDDLEWARE,
    "AuthenticationMiddleware": "django.contrib.auth.middleware.AuthenticationMiddleware",
}


@register(TAG)
def check_site(**kwargs: Any) -> list[CheckMessage]:
    """Find settings of Django that the chat needs (W006, W007)."""
    has_default_permissions = SETTINGS["STREAMING_CHAT_PERMISSIONS"].default == conf.STREAMING_CHAT_PERMISSIONS
    found: list[CheckMessage] = [
        Warning(
            f"MIDDLEWARE has no {name}, so no user is signed in for the chat.",
            hint=f"Add {path}, or a STREAMING_CHAT_PERMISSIONS backend that identifies users in another way.",
            id=f"{TAG}.W006",
        )
        for name, path in _MIDDLEWARE.items()
        if has_default_permissions and not has_middleware(path)
    ]
    if not settings.USE_TZ:
        found.append(
            Warning(
                "USE_TZ is False: when daylight saving time starts, the lease of every reply in progress expires.",
                hint="Set USE_TZ to True.",
                id=f"{TAG}.W007",
            )
        )
    return found


@register(TAG)
def check_login(**kwargs: Any) -> list[CheckMessage]:
    """Find a LOGIN_URL that leads nowhere where people must sign in (W011)."""
    has_default_permissions = SETTINGS["STREAMING_CHAT_PERMISSIONS"].default == conf.STREAMING_CHAT_PERMISSIONS
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True or not has_default_permissions or _has_login_page():
        return []
    return [
        Warning(
            f"Nobody can sign in: the site has no page at LOGIN_URL ({settings.LOGIN_URL!r}), to which the chat redirects.",
            hint=(
                'Add path("accounts/", include("django.contrib.auth.urls")) and a template registration/login.html, or set'
                ' LOGIN_URL to your login page; "admin:login" admits staff. If another server has that page, silence this'
                " check. STREAMING_CHAT_ALLOW_ANONYMOUS lets people chat without an account."
            ),
            id=f"{TAG}.W011",
        )
    ]


def _has_login_page() -> bool:
    """Return whether the site's URLs have LOGIN_URL, or it is on another site."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return True  # There are no pages at all.
    try:
        address = urlsplit(resolve_url(settings.LOGIN_URL))
    except NoReverseMatch:
        return False
    path = "/" + address.path.removeprefix(get_script_prefix()).lstrip("/")
    # LocaleMiddleware redirects to the second, where the URLs begin with the language.
    return bool(address.netloc) or _is_page(path) or _is_page(f"/{settings.LANGUAGE_CODE}{path}")


def _is_page(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


@register(TAG, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Find a site that is set up for WSGI servers only (W009)."""
    if getattr(settings, "ASGI_APPLICATION", None) or not settings.WSGI_APPLICATION:
        return []
    return [
        Warning(
            "The site has a WSGI_APPLICATION and no ASGI_APPLICATION. Under WSGI every open stream occupies a thread, and a"
            " worker without threads (gunicorn's default) serves no other request while it streams, for up to 20 seconds.",
            hint=(
                "Serve the site by ASGI, as `uvicorn mysite.asgi:application`, and set ASGI_APPLICATION. Otherwise use "
                "`gunicorn --worker-class gthread --threads N`, where N is more than the streams you expect, and silence "
                "this check."
            ),
            id=f"{TAG}.W009",
        )
    ]


def has_middleware(path: str) -> bool:
    """Return whether MIDDLEWARE has this class or a subclass of it."""
    wanted = import_string(path)
    return any(_is_subclass(candidate, wanted) for candidate in settings.MIDDLEWARE)


def _is_subclass(path: str, wanted: type) -> bool:
    try:
        candidate = import_string(path)
    except ImportError:
        return False  # Django reports it when it builds the chain.
    return isinstance(candidate, type) and issubclass(candidate, wanted)
