"""Replies inside a transaction of their caller's, as in a site's `TestCase`: saved there, without any configuration."""

import asyncio

from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import AsyncClient, TestCase, TransactionTestCase

from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.models import Message
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import (
    Gate,
    Script,
    aread_stream,
    leave_stream,
    read_stream,
    scripted_provider,
    wait_until_saved,
)
from tests.factories import make_token, make_user
from tests.provider_server import TIMEOUT
from tests.servers import wait_until

SEND, COMPLETIONS = "/chat/api/messages", "/chat/v1/chat/completions"
COMPLETION = {"model": "scripted:model", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
SYNCHRONOUS = f"{__name__}.synchronous"


def send(client, content="Hi"):
    return client.post(SEND, {"content": content, "disconnect": "finish"}, content_type="application/json")


class BlockingTests(TestCase):
    """Django's test client, whose requests are handled as a WSGI server handles them."""

    def setUp(self):
        self.user = make_user()
        self.client.force_login(self.user)

    def reply(self) -> Message:
        return Message.objects.get(role="assistant")

    def test_the_reader_saves_what_it_reads(self):
        with scripted_provider(Script("Hello")):
            read_stream(send(self.client))

        assert (self.reply().status, self.reply().text) == ("completed", "Hello")
        assert runner.live == []

    def test_the_next_request_saves_a_reply_whose_reader_has_left(self):
        with scripted_provider(Script("Hello")) as provider:
            leave_stream(send(self.client))
            run = runner.live[0]
            wait_until(lambda: run.outcome)
            before = self.reply().status
            answer = self.client.get(f"/chat/api/messages/{self.reply().pk}").json()

        assert provider.calls[0].whole
        assert before == "streaming"
        assert (answer["status"], answer["text"]) == ("completed", "Hello")

    def test_code_of_the_site_that_sends(self):
        with scripted_provider(Script("Hello")):
            with self.captureOnCommitCallbacks(execute=True):
                reply = send_message(self.user, "Hi")
            wait_until_saved()

        assert Message.objects.get(pk=reply.pk).text == "Hello"

    def test_a_reply_that_is_begun_in_it_is_not_the_writers(self):
        """Its thread has another connection, which does not see the rows."""
        gate = Gate()
        with scripted_provider(Script("Hello", gates={0: gate})):
            response = send(self.client)
            next(iter(response.streaming_content))
            runs = dict(writer._runs)
            gate.open()
            read_stream(response)

        assert runs == {}


def synchronous(get_response):
    """A middleware of the site's, which keeps the thread until the view has answered."""

    def middleware(request):
        return get_response(request)

    return middleware


class AsyncTests(TestCase):
    async def test_an_answer_at_the_ending_comes_through_a_synchronous_middleware(self):
        """Also one that fails before it begins, where a stream waits for the first content."""
        client = AsyncClient()
        await client.aforce_login(await sync_to_async(make_user)())
        failing = Script("", error="provider_auth")
        with scripted_provider(Script("Hello"), failing), self.modify_settings(MIDDLEWARE={"append": SYNCHRONOUS}):
            answer = await client.post(SEND, {"content": "Hi", "stream": False}, content_type="application/json")
            bearer = {"Authorization": f"Bearer {await sync_to_async(make_token)()}"}
            refused = await client.post(COMPLETIONS, COMPLETION, content_type="application/json", headers=bearer)

        assert answer.json()["message"]["text"] == "Hello"
        assert refused.status_code == 502

    async def test_a_task_saves_what_no_reader_reads(self):
        client = AsyncClient()
        await client.aforce_login(await sync_to_async(make_user)())
        gate = Gate()
        with scripted_provider(Script("Hello", gates={0: gate})):
            response = await send(client)
            run = runner.live[0]
            gate.open()
            await asyncio.to_thread(run.ended.wait, TIMEOUT)
            text = (await Message.objects.aget(role="assistant")).text
            streamed = await aread_stream(response)

        assert text == streamed.text == "Hello"


class CommittedTests(TransactionTestCase):
    """A view of the site's own with ATOMIC_REQUESTS."""

    def test_a_reply_that_begins_with_the_commit_is_the_writers(self):
        with scripted_provider(Script("Hello")):
            with transaction.atomic():
                reply = send_message(make_user(), "Hi")
            wait_until_saved()

        assert Message.objects.get(pk=reply.pk).text == "Hello"
