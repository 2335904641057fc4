"""The part of a request's body that is read does not grow with the body, with or without an account."""

import asyncio
import json
from typing import Any

import pytest
from django.test import SimpleTestCase

from streaming_chat.asgi import get_asgi_application
from streaming_chat.views.api.parsing import max_body_bytes

PIECE = b"x" * 65_536


@pytest.mark.any_database
class BodyTests(SimpleTestCase):
    def send(self, size: int, *headers: tuple[bytes, bytes]) -> tuple[int, str, int]:
        """Send a body of so many bytes without an account; return the status, the code and how many bytes were taken."""
        messages = iter([*[PIECE] * (size // len(PIECE)), b""])
        taken = 0
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            nonlocal taken
            if (piece := next(messages, None)) is None:
                return {"type": "http.disconnect"}
            taken += len(piece)
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}

        async def respond(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/chat/api/messages",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers],
        }
        asyncio.run(get_asgi_application()(scope, receive, respond))
        return sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"], taken

    def test_nothing_is_read_of_a_body_that_says_it_is_too_large(self):
        for size in (20_000_000, 40_000_000):
            assert self.send(size, (b"content-length", b"%d" % size)) == (413, "too_large", 0)

    def test_a_body_of_unknown_length_is_read_up_to_the_limit(self):
        once, twice = (self.send(size, (b"transfer-encoding", b"chunked")) for size in (20_000_000, 40_000_000))

        assert once == twice
        assert once[:2] == (413, "too_large")
        assert once[2] <= max_body_bytes() + len(PIECE)
