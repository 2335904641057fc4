"""Under WSGI and in Django's test clients: runs live in a loop thread, a synchronous generator reads them."""

import threading

from asgiref.sync import sync_to_async
from django.test import AsyncClient, TestCase, TransactionTestCase

from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.signals import reply_ended, reply_started
from streaming_chat.testing import (
    Gate,
    Script,
    Streamed,
    aread_stream,
    leave_stream,
    read_stream,
    scripted_provider,
    wait_until_saved,
)

from .factories import make_user
from .native import Api

SEND = "/chat/api/messages"


def read_until(content, wanted):
    """Return what a stream brings until this is in it."""
    read = b""
    while wanted not in read:
        read += next(content)
    return read


class Both:
    """Facts that hold inside a test's transaction, where the reader saves, and outside, where the writer does."""

    def setUp(self):
        self.user = make_user()
        self.api = Api(self.user)

    def tearDown(self):
        wait_until_saved()

    def row(self, message):
        return Message.objects.get(pk=message)

    def test_the_client_gets_the_whole_reply(self):
        with scripted_provider(Script(["It ", "rains"])):
            streamed = self.api.send()
        message = self.row(streamed.start["message"])

        assert (streamed.text, streamed.end["status"]) == ("It rains", "completed")
        assert (message.text, message.status) == ("It rains", "completed")
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def test_the_reply_comes_as_it_is_written(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            content = iter(self.api.post("api/messages", {"content": "Hi"}).streaming_content)
            half = read_until(content, b"It ")
            gate.wait_reached()
            shown = self.api.get(f"api/messages/{Streamed(half).start['message']}").json()
            gate.open()
            whole = Streamed(half + b"".join(content))

        assert (shown["status"], shown["text"]) == ("streaming", "It ")
        assert whole.text == "It rains"

    def test_without_streaming(self):
        with scripted_provider(Script("Whole")):
            message = self.api.post("api/messages", {"content": "Hi", "stream": False}).json()["message"]

        assert (message["text"], message["status"]) == ("Whole", "completed")

    def test_a_reply_that_is_being_read_can_be_stopped(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})) as provider:
            content = iter(self.api.post("api/messages", {"content": "Hi"}).streaming_content)
            half = read_until(content, b"It ")
            message = Streamed(half).start["message"]
            stopped = self.api.post(f"api/messages/{message}/stop", {"position": 3})
            rest = Streamed(half + b"".join(content))

        assert (stopped.status_code, stopped.json()["text"], stopped.json()["status"]) == (200, "It", "stopped")
        assert rest.end["status"] == "stopped"
        assert provider.calls[0].ended
        assert not provider.calls[0].whole

    def test_deleting_a_conversation_ends_its_reply(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})) as provider:
            content = iter(self.api.post("api/messages", {"content": "Hi"}).streaming_content)
            start = Streamed(read_until(content, b"It ")).start
            deleted = self.api.delete(f"api/conversations/{start['conversation']}")
            rest = b"".join(content)
        message = self.row(start["message"])

        assert deleted.status_code == 204
        assert b"event: stopped" in rest
        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It ")
        assert not provider.calls[0].whole

    def test_a_client_that_leaves_closes_the_reader_and_not_the_reply(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            response = self.api.post("api/messages", {"content": "Hi"})
            content = iter(response.streaming_content)
            message = Streamed(read_until(content, b"It ")).start["message"]
            leave_stream(response)
            gate.open()
            streamed = read_stream(self.api.get(f"api/messages/{message}/events"))

        assert (streamed.text, streamed.end["status"]) == ("It rains", "completed")

    def test_who_left_a_reply_of_grace_0_stops_it(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            response = self.api.post("api/messages", {"content": "Hi", "disconnect": "stop"})
            content = iter(response.streaming_content)
            message = Streamed(read_until(content, b"It ")).start["message"]
            leave_stream(response)
            shown = self.until_ended(message)

        assert (shown["status"], shown["end_reason"], shown["text"]) == ("stopped", "disconnect", "It ")

    def until_ended(self, message):
        """Read the row as a client without a stream would."""
        for _ in range(100):
            shown = self.api.get(f"api/messages/{message}").json()
            if shown["status"] != "streaming":
                return shown
            threading.Event().wait(0.05)
        raise AssertionError(f"the reply did not end: {shown}.")

    async def test_the_async_client(self):
        client = AsyncClient()
        await client.aforce_login(self.user)
        with scripted_provider(Script(["It ", "rains"])):
            response = await client.post(SEND, {"content": "Hi"}, content_type="application/json")
            streamed = await aread_stream(response)
            whole = await client.post(SEND, {"content": "Hi", "stream": False}, content_type="application/json")
        message = await sync_to_async(self.row)(streamed.start["message"])

        assert (streamed.text, message.text, message.status) == ("It rains", "It rains", "completed")
        assert whole.json()["message"]["status"] == "completed"

    async def test_the_async_client_stops_what_it_reads(self):
        client = AsyncClient()
        await client.aforce_login(self.user)
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            response = await client.post(SEND, {"content": "Hi"}, content_type="application/json")
            await gate.until_reached()
            message = (await sync_to_async(Message.objects.get)(role="assistant")).pk
            stopped = await client.post(f"/chat/api/messages/{message}/stop", {}, content_type="application/json")
            streamed = await aread_stream(response)

        assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
        assert (streamed.text, streamed.end["status"]) == ("It ", "stopped")

    def test_signals_carry_ids_only(self):
        heard, both = [], threading.Event()

        def hear(signal, sender, **ids):
            heard.append((sender, ids))
            if len(heard) == 2:
                both.set()

        for signal in (reply_started, reply_ended):
            signal.connect(hear)
            self.addCleanup(signal.disconnect, hear)
        with scripted_provider(Script("Secret")):
            start = self.api.send().start

        assert both.wait(10)
        assert [sender for sender, _ids in heard] == [Message, Message]
        started, ended = (ids for _sender, ids in heard)
        ids = {name: str(started[name]) for name in ("message", "conversation")}
        assert ids == {name: start[name] for name in ("message", "conversation")}
        assert set(started) == {"message", "conversation"}
        assert {name: ended[name] for name in ("status", "end_reason")} == {"status": "completed", "end_reason": "stop"}
        assert set(ended) == {"message", "conversation", "status", "end_reason"}


class InTransactionTests(Both, TestCase):
    """A site's TestCase."""


class WithoutTransactionTests(Both, TransactionTestCase):
    """A site's TransactionTestCase, and a real server."""

    def test_signals_come_after_the_commit(self):
        seen, done = [], threading.Event()

        def look(message, **ids):
            # In the signals' thread, over a connection of its own.
            seen.append(Message.objects.get(pk=message).status)
            done.set()

        reply_ended.connect(look)
        self.addCleanup(reply_ended.disconnect, look)
        with scripted_provider():
            self.api.send()

        assert done.wait(10)
        assert seen == ["completed"]
