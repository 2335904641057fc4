"""Views that answer with a reply: prepared in one hop to a thread, then an iterator for Django.

Nothing of a reply depends on the request from then on: the response is only a reader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from streaming_chat.db.leases import lease_judge
from streaming_chat.encoders import Encoder
from streaming_chat.engine.reader import BlockingReader, Reader
from streaming_chat.exceptions import APIError
from streaming_chat.views.work_shares import MeasuredWork, charged_to

from .reply_answers import ReplyAnswer, open_reader, release_connections_in_thread
from .responses import Answer, as_response, error_response, exempt, handler_for

# (request, owner, **url)
Handler = Callable[..., ReplyAnswer | Answer]
# (request, **url), in a thread.
Prepare = Callable[..., ReplyAnswer | HttpResponse]
# (request, error, url): the response to an error.
OnError = Callable[[HttpRequest, Exception, dict[str, Any]], Awaitable[HttpResponse]]


def streaming(**handlers: Handler) -> Callable[..., Any]:
    """Return an API view that answers with replies. handlers: one for each method."""

    @wraps(next(iter(handlers.values())))
    def prepare(request: HttpRequest, **url: Any) -> ReplyAnswer | HttpResponse:
        with MeasuredWork() as work:
            handler = handler_for(request, handlers)
            owner = work.authenticate(request)
            answer = handler(request, owner, **url)
            lease_judge.database_answered()
            return answer if isinstance(answer, ReplyAnswer) else as_response(answer)

    return reply_view(prepare, answer_error_in_json)


def reply_view(prepare: Prepare, on_error: OnError) -> Callable[..., Any]:
    """Return a view that prepares in a thread, then streams a reply, or waits for its ending without a thread."""
    # Made once: to make one inspects the function, 2.5 µs by timeit.
    prepare_in_thread = sync_to_async(prepare, thread_sensitive=True)

    @exempt
    @wraps(prepare)
    async def view(request: HttpRequest, **url: Any) -> HttpResponse | StreamingHttpResponse:
        left = asyncio.Event()
        try:
            # Shielded: a client that leaves now must not leave rows without their run.
            opening = _open(request, url, prepare_in_thread, on_error, left)
            opened = await asyncio.shield(asyncio.ensure_future(opening))
            return opened if isinstance(opened, HttpResponse) else await _respond(*opened)
        except asyncio.CancelledError:
            left.set()
            raise
        except Exception as error:  # noqa: BLE001  (answered, and logged)
            return await on_error(request, error, url)

    return view


async def answer_error_in_json(request: HttpRequest, error: Exception, url: dict[str, Any]) -> HttpResponse:
    """Answer as the API does."""
    return error_response(error)


async def _open(
    request: HttpRequest,
    url: dict[str, Any],
    prepare: Callable[..., Awaitable[ReplyAnswer | HttpResponse]],
    on_error: OnError,
    left: asyncio.Event,
) -> HttpResponse | tuple[ReplyAnswer, Reader | BlockingReader]:
    """Return the response, or what makes it. left: set when the client leaves, perhaps before this is done."""
    if left.is_set():
        return HttpResponse(status=400)
    try:
        answer = await prepare(request, **url)
        return answer if isinstance(answer, HttpResponse) else (answer, open_reader(request, answer))
    except Exception as error:  # noqa: BLE001  (answered, and logged)
        return await on_error(request, error, url)
    finally:
        if left.is_set():
            # Django has closed its connections already, and one that was opened since would wait for the collector.
            # With shared threads (streaming_chat.asgi) this is refused, and the next request closes it.
            with contextlib.suppress(RuntimeError):
                await release_connections_in_thread()


async def _respond(answer: ReplyAnswer, reader: Reader | BlockingReader) -> HttpResponse | StreamingHttpResponse:
    if answer.finish is None:
        return StreamResponse(reader, answer.encoder)
    if isinstance(reader, Reader):
        has_ended = await reader.until_ended(answer.timeout)
    else:
        has_ended = await sync_to_async(reader.until_ended, thread_sensitive=True)(answer.timeout)
    if reader.denial:
        raise APIError(403, reader.denial)
    finish = charged_to(answer.access.key, answer.finish)
    return await sync_to_async(finish, thread_sensitive=True)(has_ended)


class StreamResponse(StreamingHttpResponse):
    """A reader as a response that no proxy, cache or middleware holds back."""

    def __init__(self, reader: Reader | BlockingReader, encoder: type[Encoder]) -> None:
        super().__init__(reader, content_type=encoder.content_type)
        self.headers["Cache-Control"] = "no-store, no-cache, no-transform"
        # GZipMiddleware would compress: Django 5.2 makes Chromium see one event only, 6.0 holds all back.
        self.headers["Content-Encoding"] = "identity"
        self.headers["X-Accel-Buffering"] = "no"
        self.headers["X-Content-Type-Options"] = "nosniff"
        self.headers["Vary"] = "Cookie"

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own goes through two async generators; a middleware that wrapped the content gets them.
        iterator = self._iterator  # type: ignore[attr-defined]  # django-stubs does not know it
        if isinstance(iterator, Reader):
            return iterator
        return super().__aiter__()
