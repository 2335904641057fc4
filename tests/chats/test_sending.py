"""What goes to a provider: the path, cut to max_prompt_chars, neighbours joined, or what the PROMPT hook says."""

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.titles import title_of
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.providers.base import Turn
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import Gate, Script, read_stream, scripted_provider, wait_until_saved
from tests.factories import make_conversation, make_message, make_reply, make_user
from tests.native import Api, ApiTestCase, error_of


def shorten(request, conversation, messages):
    """A site's hook: its own system prompt, the last message only."""
    return f"{request.user.get_username()}: {conversation.title}", messages[-1:]


def refuse(request, conversation, messages):
    """A site's hook that has an objection."""
    raise APIError(422, "invalid", fields={"content": "not on this site."})


class HistoryTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation(system_prompt="Be brief.")

    def turns(self, content="And now?"):
        """Send, and return what the provider was asked."""
        self.reply = self.api.reply(content, self.conversation)
        return [tuple(turn) for turn in self.provider.calls[-1].prompt.turns]

    def test_the_path_from_the_root(self):
        make_reply(self.conversation, "Yes.")

        assert self.turns() == [("user", "Will it rain?"), ("assistant", "Yes."), ("user", "And now?")]
        assert self.provider.calls[0].prompt.system == "Be brief."
        assert self.provider.calls[0].prompt.max_output_tokens == 4096
        assert self.reply.omitted_messages == 0

    def test_a_message_is_listed_before_its_reply(self):
        """Both are written in one statement, at one time."""
        for number in range(5):
            self.api.send(f"Message {number}", self.conversation)
        listed = self.api.get(f"api/conversations/{self.conversation.pk}/messages").json()["results"]

        assert [message["role"] for message in listed] == ["user", "assistant"] * 5

    def test_other_branches_are_left_out(self):
        question = make_message(self.conversation)
        make_reply(self.conversation, "Never.", parent=question)
        make_reply(self.conversation, "Yes.", parent=question)

        assert ("assistant", "Never.") not in self.turns()

    def test_a_reply_without_text_is_left_out_and_its_neighbours_joined(self):
        make_reply(self.conversation, "", status="failed", error_code="provider_auth")

        assert self.turns() == [("user", "Will it rain?\n\nAnd now?")]

    def test_a_partial_reply_goes_along_to_its_cut(self):
        make_reply(self.conversation, "Yes, and a lot", status="stopped", end_reason="user", cut_position=5)

        assert self.turns()[1] == ("assistant", "Yes,")

    def test_reasoning_stays_here(self):
        parts = [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": "Yes."}]
        make_reply(self.conversation, parts=parts)

        assert self.turns()[1] == ("assistant", "Yes.")

    def test_the_oldest_turns_are_left_out_whole(self):
        self.provider.max_prompt_chars = 12
        make_reply(self.conversation, "1234")
        make_message(self.conversation, "5678")
        make_reply(self.conversation, "90")

        assert self.turns("abcdef") == [("user", "5678"), ("assistant", "90"), ("user", "abcdef")]
        assert self.reply.omitted_messages == 2

    def test_a_prompt_does_not_begin_with_a_reply(self):
        self.provider.max_prompt_chars = 12
        make_reply(self.conversation, "1234")

        assert self.turns("abcdef") == [("user", "abcdef")]
        assert self.reply.omitted_messages == 2

    def test_the_last_message_always_goes(self):
        self.provider.max_prompt_chars = 3
        assert self.turns("abcdef") == [("user", "abcdef")]

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.shorten")
    def test_a_hook_says_what_goes(self):
        make_reply(self.conversation, "Yes.")

        assert self.turns() == [("user", "And now?")]
        assert self.provider.calls[0].prompt.system == "ana: Rain in Lisbon"
        assert Message.objects.filter(conversation=self.conversation).count() == 4

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.refuse")
    def test_a_hook_may_refuse_and_nothing_is_written(self):
        response = self.api.post("api/messages", {"content": "Hi"})

        assert (response.status_code, list(error_of(response)["fields"])) == (422, ["content"])
        assert not Message.objects.exists()


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


class OutgoingTests(SimpleTestCase):
    def test_nothing_shows_what_was_said(self):
        """Error pages and trackers print the variables of every frame."""
        assert "secret" not in repr(SendRequest(content="secret", earlier=[Turn("user", "secret")]))


class TitleTests(SimpleTestCase):
    def test_the_first_60_characters_on_one_line(self):
        assert title_of("  Will\nit \t rain? ") == "Will it rain?"
        assert title_of("x" * 100) == "x" * 59 + "…"
        assert title_of("") == ""
