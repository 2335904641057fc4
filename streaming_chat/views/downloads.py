"""Files that are made while they are sent, so that their size costs no memory.

An owner's download takes from the owner's share of work, and pauses when half of it is used. Under WSGI it does not pause,
since gunicorn kills a worker that is busy for too long: then the owner's next requests are refused for a while.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

from streaming_chat.exceptions import APIError

from .work_shares import charged_to, download_pause

# Each has a piece of its file in memory until its client has read it.
_MOST_OF_AN_OWNER = 2
_RETRY_SECONDS = 5
# What is sent at once: so many bytes, or what was made in this time, since the thread is needed by others.
_WRITE_BYTES = 65_536
_WRITE_SECONDS = 0.05


class _OpenDownloads:
    """How many files each owner downloads from this process at the moment. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, in a child of a fork."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def open(self, key: str) -> Callable[[], None]:
        """Count one more. Returns a function that counts it no longer. Raises APIError: 429."""
        with self._lock:
            if self._counts[key] >= _MOST_OF_AN_OWNER:
                raise APIError(429, "too_many_streams", retry_after=_RETRY_SECONDS)
            self._counts[key] += 1
        return partial(self._close, key)

    def _close(self, key: str) -> None:
        with self._lock:
            self._counts[key] -= 1
            if self._counts[key] <= 0:
                del self._counts[key]


_open_downloads = _OpenDownloads()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=_open_downloads.reset)


Pause = Callable[[], float]


def download(
    request: HttpRequest, pieces: Iterator[bytes], filename: str, content_type: str, *, pause: Pause | None = None
) -> StreamingHttpResponse:
    """Return a response with a file. pause: returns how many seconds to wait before the next piece; not under WSGI."""
    data = filter(None, iter(()) if request.method == "HEAD" else pieces)
    # Django's ASGI handler collects a synchronous iterator in a list, and its WSGI handler an asynchronous one.
    content = _in_thread(data, pause) if isinstance(request, ASGIRequest) else data
    return StreamingHttpResponse(
        content,
        headers={
            "Content-Type": content_type,
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=filename) or "attachment",
            "X-Content-Type-Options": "nosniff",
        },
    )


def owner_download(
    request: HttpRequest, key: str, pieces: Iterator[bytes], filename: str, content_type: str
) -> StreamingHttpResponse:
    """Return the same for the owner with this key, who is charged for the work. Raises APIError: 429."""
    make = charged_to(key, partial(_next_pieces, pieces))
    release = _open_downloads.open(key)
    response = download(request, iter(make, b""), filename, content_type, pause=partial(download_pause, key))
    response._resource_closers.append(release)  # type: ignore[attr-defined]  # django-stubs does not know it
    return response


def _next_pieces(pieces: Iterator[bytes]) -> bytes:
    """Return the next pieces together, b"" at the end: each answer of a thread costs more than a short message."""
    data = bytearray()
    began_at = time.monotonic()
    for piece in pieces:
        data += piece
        if len(data) >= _WRITE_BYTES or time.monotonic() - began_at >= _WRITE_SECONDS:
            break
    return bytes(data)


async def _in_thread(data: Iterator[bytes], pause: Pause | None) -> AsyncIterator[bytes]:
    """Yield the pieces, each made in the request's thread, which has its database connection."""
    make = sync_to_async(partial(next, data, b""), thread_sensitive=True)
    while piece := await make():
        yield piece
        if pause is not None and (seconds := pause()):
            await asyncio.sleep(seconds)
