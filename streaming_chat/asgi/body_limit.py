"""Limits the size of a request's body, and the time that it takes, before Django reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.core.exceptions import RequestAborted

from .protocol import Application, Receive, Scope, Send, send_response

# A megabyte in a minute is 140 kbit/s.
BODY_SECONDS = 60


class BodyLimit:
    """Refuses bodies that are larger than the app's views accept, or slower, and stops reading where one turns out to be."""

    def __init__(self, application: Application) -> None:
        from streaming_chat.views import body_limit

        self._application = application
        self._limits = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._limits.may_have_body(scope):
            await self._application(scope, receive, send)
            return
        body = _LimitedBody(receive, self._limits.longest_body(), is_ours=partial(self._limits.is_ours, scope))
        try:
            body.expect(self._limits.declared_length(scope))
            await self._application(scope, body.receive, send)
        except RequestAborted:
            if not body.refused:
                raise
        if body.refused:
            await send_response(self._limits.refusal(scope, body.refused), send)


class _LimitedBody:
    """A request's body, until it is larger or slower than it may be: then the request is aborted.

    is_ours: whether it is for a view of the app; looked up only then. refused: the code of the error; "" for none.
    """

    def __init__(self, receive: Receive, longest: int, is_ours: Callable[[], bool]) -> None:
        self._receive = receive
        self._left = longest
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._is_ours = is_ours
        # Whether all of it is here, or it has no limits.
        self._is_over = False
        self.refused = ""

    def expect(self, length: int) -> None:
        """Abort a request whose body is said to be too large. Raises RequestAborted."""
        if length > self._left:
            self._abort("too_large")

    def receive(self) -> Awaitable[dict[str, Any]]:
        """Return the next message. Raises RequestAborted, upon which Django answers nothing."""
        # While a reply streams, the message that its client has left is waited for, without a frame of ours.
        return self._receive() if self._is_over else self._receive_part()

    async def _receive_part(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout_at(self._deadline):
                message: dict[str, Any] = await self._receive()
        except TimeoutError:
            self._abort("too_slow")
            return await self.receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self._abort("too_large")
        # After a complete body, the next message says that the client has left.
        self._is_over |= not message.get("more_body")
        return message

    def _abort(self, code: str) -> None:
        if not self._is_over and self._is_ours():
            self.refused = code
            raise RequestAborted
        self._is_over = True
