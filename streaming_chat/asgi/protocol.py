"""The types of ASGI, and the sending of a response that needs no request.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpResponse

Scope = dict[str, Any]
Receive = Callable[..., Any]
Send = Callable[..., Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def send_response(response: HttpResponse, send: Send, *, with_body: bool = True) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.content))}
    raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw_headers})
    await send({"type": "http.response.body", "body": response.content if with_body else b""})
