"""Requests to the native API by Django's test client, as ana unless a test says otherwise.

With STREAMING_CHAT_TEST_HANDLER=asgi in the environment, the same requests go through `streaming_chat.asgi`.
"""

import os
from functools import partial
from typing import Any

from django.test import Client, TestCase

from streaming_chat.asgi import get_asgi_application
from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import Streamed, read_stream, scripted_provider

from .asgi_client import ASGIClient
from .factories import make_user
from .openapi import check_answer

ROOT = "/chat/"
# Whether the requests go through `streaming_chat.asgi`, and not through the handler of Django's test client.
IS_ASGI = os.environ.get("STREAMING_CHAT_TEST_HANDLER") == "asgi"


def error_of(response: Any) -> dict[str, Any]:
    """Return the error of an answer, whose shape every API error has."""
    body = response.json()

    assert set(body) == {"error"}, body
    assert {"code", "message", "retryable"} <= set(body["error"]), body
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"

    return body["error"]


def code_of(response: Any) -> str:
    """Return the code of an error in the shape of any of the APIs: that of the AI SDK is the text alone."""
    assert response.headers["Cache-Control"] == "no-store"
    if response.headers["Content-Type"] == "text/plain; charset=utf-8":
        text = response.content.decode()
        return next(code for code in ERRORS if text.startswith(error_text(code)))
    error = response.json()["error"]
    # OpenAI's errors have a type, all others say whether the request may be repeated.
    return error["code"] if "type" in error else error_of(response)["code"]


def make_client(**options: Any) -> Client:
    """Return Django's test client, or one that sends its requests through `streaming_chat.asgi`."""
    return ASGIClient(partial(get_asgi_application, threads=1), **options) if IS_ASGI else Client(**options)


class Api:
    """The API as one user's browser asks it."""

    def __init__(self, user: Any = None, **options: Any) -> None:
        self.client = make_client(raise_request_exception=False, **options)
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, **options: Any) -> Any:
        return self._checked("GET", path, self.client.get(ROOT + path, **options))

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request with a JSON body; bytes and strings as they are."""
        options = {**_encoded(self.client, body), **options}
        return self._checked(method, path, self.client.generic(method, ROOT + path, **options))

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.ask("POST", path, {} if body is None else body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Any:
        return self.ask("PATCH", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Any:
        return self.ask("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self._checked("DELETE", path, self.client.delete(ROOT + path, **options))

    def send(self, content: str = "Hi", conversation: Conversation | None = None, **body: Any) -> Streamed:
        """Send a message and read its reply to the end."""
        path = f"api/conversations/{conversation.pk}/messages" if conversation else "api/messages"
        response = self.post(path, {"content": content, **body})

        assert response.status_code == 200, response.content

        return read_stream(response)

    def reply(self, content: str = "Hi", conversation: Conversation | None = None, **body: Any) -> Message:
        """Send a message and return the row of its reply."""
        return Message.objects.get(pk=self.send(content, conversation, **body).start["message"])

    def _checked(self, method: str, path: str, response: Any) -> Any:
        """Return a response that openapi.json describes."""
        check_answer(method, path, response)
        return response


def _encoded(client: Client, body: Any) -> dict[str, Any]:
    data = body if isinstance(body, bytes | str) else client._encode_json(body, "application/json")
    return {"data": data, "content_type": "application/json"}


@scripted_provider()
class ApiTestCase(TestCase):
    """self.api asks as self.user, who is ana; self.provider says "Hello, world" unless it is told another reply."""

    def setUp(self) -> None:
        self.user = make_user()
        self.api = Api(self.user)
