"""Views that answer with a reply: prepared in one call in a thread, then an iterator for Django.

Nothing of a reply depends on the request from then on: its run has been started, and the response is only a reader.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from typing import IO, Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from streaming_chat.db.leases import lease_judge
from streaming_chat.encoders import Encoder
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.exceptions import APIError
from streaming_chat.views import in_thread
from streaming_chat.views.work_shares import MeasuredWork, charged_to

from . import operations
from .operations import RespondToError
from .reply_answers import (
    ReplyAnswer,
    note_loop,
    open_blocking_reader,
    open_reader,
    release_connections_in_thread,
)
from .responses import Answer, as_response, error_response, exempt, handler_for

# (request, owner, **url)
Handler = Callable[..., ReplyAnswer | Answer]
# (request, **url), in a thread.
Prepare = Callable[..., ReplyAnswer | HttpResponseBase]
# (request, error, url), in a thread: the response to an error, or the error raised again.
OnError = Callable[[HttpRequest, Exception, dict[str, Any]], HttpResponse]

# A reply that has neither begun nor failed by then begins its stream all the same: a proxy that hears nothing closes the
# connection. With _SINGLE_THREAD_SECONDS less than gunicorn's 30 s.
_OPENING_SECONDS = 5.0
# JSON in which `stream` may have another value than true. A name can be written with escapes: \u0073 is an s.
_MAY_NOT_STREAM = re.compile(rb'"stream"(?!\s*:\s*true\b)|\\u00[67]')


def answer_error_in_json(request: HttpRequest, error: Exception, url: dict[str, Any]) -> HttpResponse:
    """Answer as the API does."""
    return error_response(error)


def streaming(*, respond_to_error: RespondToError = error_response, **handlers: Handler) -> Callable[..., Any]:
    """Return an API view that streams replies, unless `"stream": false` is asked for. handlers: one for each method."""
    return api_view(prepare_with(handlers), handlers, respond_to_error, fits=_streams)


def waiting(*, respond_to_error: RespondToError = error_response, **handlers: Handler) -> Callable[..., Any]:
    """Return an API view that answers at a reply's ending. handlers: one for each method."""
    return api_view(prepare_with(handlers), handlers, respond_to_error)


def api_view(
    prepare: Prepare,
    handlers: dict[str, Handler],
    respond_to_error: RespondToError,
    *,
    fits: in_thread.Fits | None = None,
) -> Callable[..., Any]:
    """Return a view of an API whose errors have a format of its own. fits: as for `reply_view`."""
    view = reply_view(prepare, lambda request, error, url: respond_to_error(error), fits=fits)
    operations.register(view, handlers, respond_to_error)
    return view


def prepare_with(handlers: dict[str, Handler], *, bearer_only: bool = False) -> Prepare:
    """Return what an API view does in a thread. handlers: one for each method. bearer_only: a cookie is not accepted."""

    @wraps(next(iter(handlers.values())))
    def prepare(request: HttpRequest, **url: Any) -> ReplyAnswer | HttpResponseBase:
        with MeasuredWork() as work:
            handler = handler_for(request, handlers)
            owner = work.authenticate(request, bearer_only=bearer_only)
            answer = handler(request, owner, **url)
            lease_judge.database_answered()
            return answer if isinstance(answer, ReplyAnswer) else as_response(answer)

    return prepare


def _streams(method: str, body: IO[bytes]) -> bool:
    """Return whether a request is answered with a stream, as far as its body says so without being parsed."""
    return method != "POST" or _MAY_NOT_STREAM.search(body.read()) is None


class _Waiting(NamedTuple):
    """An answer that is made at a reply's ending, by `finish`."""

    reader: Any
    timeout: float | None
    finish: Callable[[bool], HttpResponse]

    def wait(self) -> Any:
        """Return whether the reply has ended in time, or what to await for that."""
        return self.reader.until_ended(self.timeout)

    def response(self, has_ended: bool) -> HttpResponse:
        """Return the response. Raises APIError."""
        if self.reader.denial:
            raise APIError(403, self.reader.denial)
        return self.finish(has_ended)


class _Opening(NamedTuple):
    """A stream that begins with the first content. open_: makes its reader, which takes the place of the one that waits."""

    reader: Any
    answer: ReplyAnswer
    open_: Callable[..., Reader | BlockingReader]

    def wait(self) -> Any:
        """Return the ending of a reply that failed before there was any content, or what to await for that."""
        return self.reader.until_content(_OPENING_SECONDS)

    def response(self, failure: dict[str, Any] | None) -> HttpResponse | StreamResponse:
        """Return the response. Raises APIError."""
        if self.reader.denial:
            self.reader.close()
            raise APIError(403, self.reader.denial)
        if failure and self.answer.refuse:
            self.reader.close()
            return self.answer.refuse(failure)
        return StreamResponse(self.open_(in_place_of=self.reader), self.answer.encoder)


class _Answering:
    """What a view does in a thread. Each method answers its errors."""

    def __init__(self, prepare: Prepare, on_error: OnError) -> None:
        self._prepare = prepare
        self._on_error = on_error

    def begin(self, request: HttpRequest, url: dict[str, Any], open_: Callable[..., Any]) -> Any:
        """Return the response, or a _Waiting or _Opening. open_: makes the reader, (request, answer)."""
        try:
            answer = self._prepare(request, **url)
            if not isinstance(answer, ReplyAnswer):
                return answer
            reader = open_(request, answer)
            if answer.refuse is not None:
                return _Opening(reader, answer, partial(open_, request, answer))
            if answer.finish is None:
                return StreamResponse(reader, answer.encoder)
            return _Waiting(reader, answer.timeout, charged_to(answer.access.key, answer.finish))
        except Exception as error:  # noqa: BLE001  (answered, and logged)
            return self._on_error(request, error, url)

    def finish(self, request: HttpRequest, url: dict[str, Any], begun: _Waiting | _Opening, result: Any) -> Any:
        """Return the response after the wait. result: of the wait."""
        try:
            return begun.response(result)
        except Exception as error:  # noqa: BLE001  (answered, and logged)
            return self._on_error(request, error, url)


def reply_view(prepare: Prepare, on_error: OnError, *, fits: in_thread.Fits | None = None) -> Callable[..., Any]:
    """Return a view that prepares in a thread, then streams a reply, or waits for its ending without a thread.

    fits: tells the requests that are answered without waiting for an ending; None if there are none.
    """
    answering = _Answering(prepare, on_error)

    @exempt
    @wraps(prepare)
    def blocking_view(request: HttpRequest, **url: Any) -> HttpResponse | StreamResponse:
        begun = answering.begin(request, url, _open_in_thread)
        if not isinstance(begun, _Waiting | _Opening):
            return begun
        return answering.finish(request, url, begun, begun.wait())

    # Made once: to make one inspects the function, 2.5 µs by timeit.
    view_in_thread = sync_to_async(blocking_view)
    begin_in_thread = sync_to_async(answering.begin)
    finish_in_thread = sync_to_async(answering.finish)

    @exempt
    @wraps(prepare)
    async def view(request: HttpRequest, **url: Any) -> HttpResponse | StreamResponse:
        if not isinstance(request, ASGIRequest):
            return await view_in_thread(request, **url)
        note_loop(request)
        begun = await begin_in_thread(request, url, _open_in_loop)
        if not isinstance(begun, _Waiting | _Opening):
            return begun
        return await finish_in_thread(request, url, begun, await begun.wait())

    if fits is not None:
        in_thread.register(view, blocking_view, fits)
    return view


# in_place_of: a reader that leaves as soon as the new one has subscribed.


def _open_in_loop(
    request: HttpRequest, answer: ReplyAnswer, *, in_place_of: Reader | None = None
) -> Reader | BlockingReader:
    return open_reader(
        request, answer, partial(_take_over, in_place_of) if in_place_of else release_connections_in_thread
    )


async def _take_over(reader: Reader) -> None:
    reader.close()
    await release_connections_in_thread()


def _open_in_thread(
    request: HttpRequest, answer: ReplyAnswer, *, in_place_of: BlockingReader | None = None
) -> Reader | BlockingReader:
    opened = open_reader(request, answer) if answer.finish is None else open_blocking_reader(request, answer)
    if in_place_of:
        in_place_of.close()
    return opened


class StreamResponse(StreamingHttpResponse):
    """A reader as a response that no proxy, cache or middleware holds back."""

    def __init__(self, reader: Reader | BlockingReader, encoder: type[Encoder]) -> None:
        super().__init__(reader, content_type=encoder.content_type, headers=encoder.headers)
        self.headers["Cache-Control"] = "no-store, no-cache, no-transform"
        # GZipMiddleware would compress: Django 5.2 makes Chromium see one event only, 6.0 holds all back.
        self.headers["Content-Encoding"] = "identity"
        self.headers["X-Accel-Buffering"] = "no"
        self.headers["X-Content-Type-Options"] = "nosniff"
        self.headers["Vary"] = "Cookie"

    @property
    def reader(self) -> Reader | None:
        """The reader whose writes are the content, unless it blocks; None if a middleware has wrapped the content."""
        iterator = self._iterator  # type: ignore[attr-defined]  # django-stubs does not know it
        return iterator if isinstance(iterator, Reader) else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own goes through two async generators; a middleware that wrapped the content gets them.
        return self.reader or super().__aiter__()
