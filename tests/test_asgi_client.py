"""The test client over `streaming_chat.asgi`: its requests go through our handler, inside a TestCase's transaction."""

from functools import partial

from django.test import TestCase

from streaming_chat.asgi import get_asgi_application
from streaming_chat.models import Message
from streaming_chat.testing import read_stream, scripted_provider

from .asgi_client import ASGIClient
from .factories import make_user


@scripted_provider()
class ASGIClientTests(TestCase):
    def setUp(self):
        self.client = ASGIClient(partial(get_asgi_application, threads=1))
        self.client.force_login(make_user())

    def send(self):
        return self.client.post("/chat/api/messages", {"content": "Hi"}, content_type="application/json")

    def test_a_reply(self):
        """The handler's own thread sees the user and the session, which nobody has committed."""
        streamed = read_stream(self.send())

        assert streamed.text == "Hello, world"
        assert Message.objects.get(pk=streamed.start["message"]).status == "completed"
        assert self.client.threads == ["streaming_chat.request0_0"]

    def test_answers_that_are_no_streams(self):
        listed = self.client.get("/chat/api/conversations")
        page = self.client.get("/chat/")
        refused = self.client.put("/chat/api/messages")

        assert listed.json() == {"results": [], "next": None}
        assert (page.status_code, page.templates[0].name) == (200, "streaming_chat/chat.html")
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, POST")

    def test_the_csrf_check_is_the_sites(self):
        strict = ASGIClient(partial(get_asgi_application, threads=1), enforce_csrf_checks=True)
        strict.force_login(make_user())

        assert strict.post("/chat/api/conversations").status_code == 403
