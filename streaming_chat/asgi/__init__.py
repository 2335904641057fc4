"""An ASGI application whose requests share a few threads: for a site that keeps many replies open.

Django gives every request under ASGI a thread of its own to its end: 1,000 open replies are 1,000 threads. In your asgi.py:

    from streaming_chat.asgi import get_asgi_application

    application = get_asgi_application()

The synchronous code of all requests runs on these threads, one call at a time on each; for the app's views, the view and
the site's middleware are one call (handler.py). A slow synchronous view, or a synchronous middleware around a slow
asynchronous view, delays the requests that share its thread. Needs asgiref 3.13.
The requests of one owner, or of one network address while the owner is not known, wait for half of the threads at most.

The health check is answered on the event loop, before Django and its middleware: it answers even if all threads are busy.

A body that is larger than the app accepts is refused before it is read: Django would write all of it to a temporary file,
before it asks who sent it. A body that has not arrived after BODY_SECONDS is no longer waited for. Views of your own are not
limited by this. Neither is a client that sends no request: a server calls its application when the headers are complete.

Under uvicorn it also resets the connection of a client that does not read (SEND_TIMEOUT_SECONDS). Under other servers
such a client's reply ends for it, too, but its connection stays open, with up to 64 KiB, until the client goes.
"""

from __future__ import annotations

import django

from .body_limit import BodyLimit
from .health_checks import HealthChecks
from .protocol import Application, Receive, Scope, Send
from .shared_threads import SharedThreads

__all__ = ["Application", "Receive", "Scope", "Send", "SharedThreads", "get_asgi_application"]


def get_asgi_application(threads: int = 4) -> Application:
    """Return Django's ASGI application. threads: how many all requests share; each can use a database connection."""
    django.setup(set_prefix=False)
    # Models can be imported only after Django's setup.
    from .handler import Handler

    return HealthChecks(BodyLimit(SharedThreads(Handler(), threads)))
