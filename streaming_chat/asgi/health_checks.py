"""Answers the health check on the event loop."""

from __future__ import annotations

from .protocol import Application, Receive, Scope, Send, send_response


class HealthChecks:
    """Answers the health check on the event loop, so that it does not wait for the threads whose state it reports."""

    def __init__(self, application: Application) -> None:
        # Models can be imported only after Django's setup.
        from streaming_chat.alerts.sender import sender
        from streaming_chat.providers.preparation import background
        from streaming_chat.views import health

        self._application = application
        self._preparation = background
        self._sender = sender
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server's first call is of its lifespan or of a request: in the process that serves, after any fork.
        self._preparation.start()
        if scope["type"] == "lifespan":
            # Without it, the first request starts the thread (alerts/sender.py), so this costs the others nothing.
            self._sender.start()
        if scope["type"] == "http" and self._health.is_health_check(scope):
            await send_response(self._health.answer_health(), send, with_body=scope["method"] == "GET")
        else:
            await self._application(scope, receive, send)
