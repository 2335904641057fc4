"""`send_message`, for the site's own views and tasks."""

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import Gate, Script, read_stream, scripted_provider, wait_until_saved
from tests.factories import make_conversation, make_user
from tests.native import Api


class SendMessageTests(TransactionTestCase):
    """The documented Python call."""

    def setUp(self):
        self.user = make_user()
        self.provider = self.enterContext(scripted_provider())
        self.addCleanup(wait_until_saved)

    def test_it_returns_the_reply_which_is_being_written(self):
        gate = Gate()
        self.provider.script(Script(["It ", "rains"], gates={1: gate}))
        reply = send_message(self.user, "Will it rain?")
        gate.wait_reached()
        streamed = Api(self.user).get(f"api/messages/{reply.pk}/events")
        gate.open()

        assert (reply.status, reply.parent.text, reply.conversation.owner) == ("streaming", "Will it rain?", self.user)
        assert read_stream(streamed).text == "It rains"

    def test_it_can_wait(self):
        reply = send_message(self.user, "Hi", wait=True)
        again = send_message(self.user, "And?", conversation=reply.conversation, wait=True)

        assert (reply.text, reply.status) == ("Hello, world", "completed")
        assert again.parent.parent == reply

    def test_a_transaction_that_fails_asks_nobody(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            send_message(self.user, "Hi")
            _ = 1 / 0

        assert not self.provider.calls
        assert not Message.objects.exists()

    def test_a_transaction_that_succeeds_asks_after_it(self):
        with transaction.atomic():
            reply = send_message(self.user, "Hi")
            asked = len(self.provider.calls)
        wait_until_saved()
        reply.refresh_from_db()

        assert asked == 0
        assert (reply.text, reply.status) == ("Hello, world", "completed")

    def test_the_same_client_id_is_the_same_reply(self):
        replies = {send_message(self.user, "Hi", client_id="task-7", wait=True).pk for _ in range(2)}

        assert len(replies) == 1
        assert len(self.provider.calls) == 1

    def test_limits_are_those_of_a_request(self):
        foreign = make_conversation(make_user("bo"))
        for status, arguments in (
            (404, {"conversation": foreign}),
            (422, {"model": "none:such"}),
        ):
            with self.subTest(status=status), self.assertRaises(APIError) as raised:
                send_message(self.user, "Hi", **arguments)
            assert raised.exception.status == status
        for user in (AnonymousUser(), make_user("gone", is_active=False)):
            with self.assertRaises(APIError) as raised:
                send_message(user, "Hi")
            assert raised.exception.status == 401
        for text in ("", " \0\n", "x" * 32_001):
            with self.assertRaises(ValueError):
                send_message(self.user, text)

    async def test_async_code_calls_it_in_a_thread(self):
        reply = await sync_to_async(send_message)(self.user, "Hi", wait=True)

        assert reply.status == "completed"

    def test_it_does_not_wait_for_a_commit_that_waits_for_it(self):
        with transaction.atomic(), self.assertRaisesMessage(ValueError, "nothing to wait for"):
            send_message(self.user, "Hi", wait=True)


class SendMessageInTestsTests(TestCase):
    """A site's TestCase has no commit of its own."""

    def test_captured_callbacks_write_the_reply(self):
        with scripted_provider(Script("Saved")):
            with self.captureOnCommitCallbacks(execute=True):
                reply = send_message(make_user(), "Hi")
            wait_until_saved()
        reply.refresh_from_db()

        assert (reply.text, reply.status) == ("Saved", "completed")
