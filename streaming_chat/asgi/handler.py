"""Django's ASGI handler, which calls a view of the app and the middleware around it in one call in a thread.

Django changes to a thread for each method of each synchronous middleware, for the view and for signals: 11 times a send with
four middlewares, 18 with those of `startproject`. For the app's views this handler calls the middleware as Django does
under WSGI: from a chain of their own, all in one thread. Every other request takes Django's way, and so does every request
of a site with a middleware that is only asynchronous.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import IO, Any, NamedTuple

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http.response import HttpResponseBase, ResponseHeaders
from django.urls import Resolver404, ResolverMatch, resolve, set_script_prefix
from django.utils.module_loading import import_string
from django.utils.translation import get_language

from streaming_chat.views import in_thread
from streaming_chat.views.api.reply_answers import note_loop, release_connections
from streaming_chat.views.api.streaming import StreamResponse

from .protocol import Receive, Scope, Send

# The attribute of a request with how its view was found.
_FOUND = "_streaming_chat_found"


class Handler(ASGIHandler):
    """Django's ASGI handler, with a shorter way to the app's views."""

    def __init__(self) -> None:
        super().__init__()
        # Made once: to make one inspects the function.
        chain = _ThreadChain(type(self)) if _can_run_in_thread() else None
        self._respond_in_thread: Any = chain and sync_to_async(chain.respond)
        self._close_in_thread = sync_to_async(_close)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """See ASGIHandler, which enters a ThreadSensitiveContext first: SharedThreads has done so."""
        is_http = scope["type"] == "http"
        return self.handle(scope, receive, send) if is_http else super().__call__(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, on the thread that asgiref has for it."""
        found = _find_view(scope)
        if found is None or self._respond_in_thread is None:
            await super().handle(scope, receive, send)
            return
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        request = self._request_for(found, scope, body)
        if request is None:
            await super().handle(scope, _again(body, receive), send)
            return
        exchange = _Exchange(scope, request)
        # A reply may stream for minutes, and needs none of them.
        del body, found, request
        try:
            await self._answer_until_disconnect(exchange, receive, send)
        finally:
            if exchange.is_finished:
                _close(exchange)
            else:
                # The thread makes its calls in order: the response is here by then, if there is one.
                await self._close_in_thread(exchange)

    def _request_for(self, found: _Found, scope: Scope, body: IO[bytes]) -> ASGIRequest | None:
        """Return the request; None if Django's handler must answer it."""
        if not found.view.fits(scope["method"], body):
            return None
        body.seek(0)
        request, _refusal = self.create_request(scope, body)
        if request is not None:
            setattr(request, _FOUND, found)
            note_loop(request)
        return request

    async def _answer_until_disconnect(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        """Answer a request, unless its client leaves before that is done."""
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self.listen_for_disconnect(receive))
                await self._respond_in_thread(exchange)
                await self._send(exchange.response, send)
                listening.cancel()
        except BaseExceptionGroup as errors:
            if rest := errors.split(RequestAborted)[1]:
                raise rest.exceptions[0] from None

    async def _send(self, response: HttpResponseBase, send: Send) -> None:
        """Send a response; a reply whose content no middleware has wrapped, by its reader."""
        if isinstance(response, StreamResponse) and (reader := response.reader):
            await send(_start_of(response))
            # They have been sent, and a reply may stream for minutes.
            response.headers = ResponseHeaders({})
            await reader.send_to(send)
        else:
            await self.send_response(response, send)


class _Found(NamedTuple):
    """A view of the app, and how it was found. language: in which the URLs were read."""

    view: in_thread.InThread
    path: str
    language: str | None
    match: ResolverMatch


class _Exchange:
    """A request until it is answered, then its response. is_finished: Django's signal of that has been sent."""

    __slots__ = ("is_finished", "request", "response", "scope")

    def __init__(self, scope: Scope, request: ASGIRequest) -> None:
        self.scope = scope
        self.request: Any = request
        self.response: Any = None
        self.is_finished = False


class _ThreadChain(BaseHandler):
    """The site's middleware around its views, in one thread, as Django calls them under WSGI."""

    def __init__(self, handler_class: type[ASGIHandler]) -> None:
        """handler_class: the sender of the signals, as under Django."""
        super().__init__()
        self.load_middleware()
        self._handler_class = handler_class

    def respond(self, exchange: _Exchange) -> None:
        """Answer a request."""
        request, exchange.request = exchange.request, None
        set_script_prefix(get_script_prefix(exchange.scope))
        signals.request_started.send(sender=self._handler_class, scope=exchange.scope)
        response: Any = self.get_response(request)
        response._handler_class = self._handler_class
        exchange.response = response
        if isinstance(response, StreamResponse):
            release_connections()
            _close_request(request, response)
            exchange.is_finished = self._finish(response)

    def resolve_request(self, request: Any) -> ResolverMatch:
        """Return what the request's path is for: as it was found, unless a middleware has chosen otherwise."""
        found: _Found | None = getattr(request, _FOUND, None)
        if found is None or hasattr(request, "urlconf") or (request.path_info, get_language()) != found[1:3]:
            return super().resolve_request(request)
        request.resolver_match = found.match
        return found.match

    def _finish(self, response: StreamResponse) -> bool:
        """Send `request_finished` now, and not from a thread after the stream, if nobody but Django sees a difference."""
        receivers, async_receivers = signals.request_finished._live_receivers(self._handler_class)
        are_djangos = all(receiver.__module__.startswith("django.") for receiver in receivers)
        closers: list[Any] = response._resource_closers  # type: ignore[attr-defined]  # django-stubs does not know it
        has_other_closers = response.reader is None or len(closers) > 1
        if async_receivers or not are_djangos or has_other_closers:
            return False
        signals.request_finished.send(sender=self._handler_class)
        return True

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return what is called for a view: the middleware has seen the view itself."""
        found = in_thread.find(view)
        return super().make_view_atomic(view if found is None else found.view)


def _can_run_in_thread() -> bool:
    return all(getattr(import_string(path), "sync_capable", True) for path in settings.MIDDLEWARE)


def _find_view(scope: Scope) -> _Found | None:
    """Find the app's view of a request. As before any middleware: one may choose other URLs, or another language."""
    path: str = scope["path"].removeprefix(get_script_prefix(scope))
    try:
        match = resolve(path)
    except Resolver404:
        return None
    view = in_thread.find(match.func)
    return view and _Found(view, path, get_language(), match)


def _close_request(request: Any, response: Any) -> None:
    """Close a request before its response: with its headers and its body, it would stay in memory while a reply streams."""
    if request.close in response._resource_closers:
        response._resource_closers.remove(request.close)
        request.close()


def _close(exchange: _Exchange) -> None:
    if exchange.is_finished:
        exchange.response.reader.close()
    elif exchange.response is not None:
        exchange.response.close()


def _again(body: IO[bytes], receive: Receive) -> Receive:
    """Return a `receive` that begins with a body that has been read."""
    body.seek(0)
    messages = [{"type": "http.request", "body": body.read()}]
    body.close()

    async def receive_again() -> Any:
        return messages.pop() if messages else await receive()

    return receive_again


def _start_of(response: StreamResponse) -> dict[str, Any]:
    """Return the ASGI message that begins a response, as Django makes it."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    headers += [(b"Set-Cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}
