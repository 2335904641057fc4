"""The views that `streaming_chat.asgi` can call in a thread, within the same call as the site's middleware.

A view is found by its function itself: where a site has wrapped it, as in `login_required(chat_view)`, it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, NamedTuple

from django.http.response import HttpResponseBase

View = Callable[..., Any]
# (method, body) -> whether a request is answered without waiting for anything but the database.
Fits = Callable[[str, IO[bytes]], bool]


class InThread(NamedTuple):
    """How a view is called in a thread, and for which requests."""

    view: Callable[..., HttpResponseBase]
    fits: Fits


_views: dict[View, InThread] = {}


def always(method: str, body: IO[bytes]) -> bool:
    """Whether a request fits: each does."""
    return True


def register(view: View, in_thread: Callable[..., HttpResponseBase], fits: Fits = always) -> None:
    """Have `in_thread` called in place of a view, for requests that fit. It has the same exemptions."""
    _views[view] = InThread(in_thread, fits)


def find(view: View) -> InThread | None:
    """Return how a view is called in a thread, None if it must not be."""
    return _views.get(view)
