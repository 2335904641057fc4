"""What this process and the request look like on the server's side, for `manage.py chatdoctor`.

It takes the site's SECRET_KEY to ask; any other request gets 404.
"""

from __future__ import annotations

import os
import socket
import time

from django.core.handlers.asgi import ASGIRequest
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.conf import conf

from .operations import operation
from .responses import Answer, api, require_found

HEADER = "X-Chat-Doctor"
# Long enough for clocks that are minutes apart, which is one of the things to find out.
_TOKEN_SECONDS = 3600
_signer = TimestampSigner(salt="streaming_chat.diagnosis")


def make_token() -> str:
    """Return what the header must hold."""
    return _signer.sign("doctor")


@operation(headers=(HEADER,), answers={200: "Diagnosis"}, errors=("not_found",))
def diagnose(request: HttpRequest, owner: Owner) -> Answer:
    """The server's side of what chatdoctor measures. Times are seconds."""
    require_found(_is_asked_by_the_site(request) or None)
    return {
        "interface": "asgi" if isinstance(request, ASGIRequest) else "wsgi",
        # Of WSGI: whether a process takes another request while one is served.
        "threads": request.META.get("wsgi.multithread", True),
        "process": f"{socket.gethostname()}:{os.getpid()}",
        "time": time.time(),
        "scheme": request.scheme,
        "host": request.get_host(),
        "notifier": conf.STREAMING_CHAT_NOTIFIER["BACKEND"],
        "grace": conf.STREAMING_CHAT_DISCONNECT_GRACE_SECONDS,
        "heartbeat": conf.STREAMING_CHAT_HEARTBEAT_SECONDS,
    }


def _is_asked_by_the_site(request: HttpRequest) -> bool:
    try:
        _signer.unsign(request.headers.get(HEADER, ""), max_age=_TOKEN_SECONDS)
    except BadSignature:
        return False
    return True


diagnosis_view = api(GET=diagnose)
