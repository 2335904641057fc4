"""The test client over `streaming_chat.asgi`: its requests go through our handler, inside a TestCase's transaction."""

import threading
from functools import partial

from django.test import TestCase

from streaming_chat.asgi import get_asgi_application
from streaming_chat.engine.runner import runner
from streaming_chat.engine.shutdown import Drain
from streaming_chat.models import Message
from streaming_chat.testing import Gate, Script, read_stream, scripted_provider

from .asgi_client import ASGIClient
from .factories import make_user
from .servers import wait_until


@scripted_provider()
class ASGIClientTests(TestCase):
    def setUp(self):
        self.client = ASGIClient(partial(get_asgi_application, threads=1))
        self.client.force_login(make_user())

    def send(self, **body):
        return self.client.post("/chat/api/messages", {"content": "Hi", **body}, content_type="application/json")

    def test_a_reply(self):
        """The handler's own thread sees the user and the session, which nobody has committed."""
        streamed = read_stream(self.send())

        assert streamed.text == "Hello, world"
        assert Message.objects.get(pk=streamed.start["message"]).status == "completed"
        assert self.client.threads == ["streaming_chat.request0_0"]

    def test_the_next_request_saves_a_reply_whose_client_has_left(self):
        """The reply goes on, and nothing else reaches the thread that its transaction is in."""
        gate = Gate()
        self.provider.script(Script(["Hello"], gates={0: gate}))
        self.client.leaves_at = gate
        with self.assertNoLogs("asyncio"):
            self.send(disconnect="finish")
            [run] = runner.live
            gate.open()
            wait_until(lambda: run.outcome)
            before = Message.objects.get(role="assistant").status
            answer = self.client.get(f"/chat/api/messages/{run.message_id}").json()

        assert before == "streaming"
        assert (answer["status"], answer["text"]) == ("completed", "Hello")

    def test_a_reply_that_is_live_at_shutdown_is_saved(self):
        gate = Gate()
        self.provider.script(Script(["Hello", "world"], gates={1: gate}))
        drain = Drain(lambda: runner.live, lambda: False, self.fail)
        shutdown = threading.Thread(target=lambda: (gate.wait_reached(), drain.end_all()))
        shutdown.start()
        streamed = read_stream(self.send())
        shutdown.join()
        reply = Message.objects.get(role="assistant")

        assert streamed.end["end_reason"] == reply.end_reason == "shutdown"
        assert streamed.text == reply.text == "Hello"

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
