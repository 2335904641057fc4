"""The ASGI application of a worker of the checker: the app, and a path that tells how many tasks its loop has.

CHAOS_THREADS=shared serves it by streaming_chat.asgi; CHAOS_PLANT names a bug to plant; CHAOS_HOLDS is a folder for the
calls of tools that stop at a point of their life (held.py).
"""

import asyncio
import json
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"
django.setup(set_prefix=False)

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  (Django is set up first)

from streaming_chat.asgi import SharedThreads  # noqa: E402  (as above)

from . import held  # noqa: E402  (as above)
from .planted import plant  # noqa: E402  (as above)

STATE_PATH = "/chaos/state"


class Observed:
    """Answers STATE_PATH itself, everything else by the application."""

    def __init__(self, application):
        self._application = application

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] != STATE_PATH:
            await self._application(scope, receive, send)
            return
        # Without uvicorn's own task of this request.
        body = json.dumps({"tasks": len(asyncio.all_tasks()) - 1}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


plant(os.environ.get("CHAOS_PLANT", ""))
if held.FOLDER:
    held.hold_the_engine()
_handler = ASGIHandler()
application = Observed(SharedThreads(_handler) if os.environ.get("CHAOS_THREADS") == "shared" else _handler)
