"""streaming_chat.testing, as a site's own tests use it."""

from asgiref.sync import sync_to_async
from django.test import AsyncClient, SimpleTestCase, TestCase, TransactionTestCase

from streaming_chat.models import Message
from streaming_chat.testing import (
    Gate,
    Script,
    Streamed,
    Turn,
    aread_stream,
    read_stream,
    scripted_provider,
    wait_until_saved,
)

from .factories import make_user

SEND = "/chat/api/messages"


def send(client, content="Hi", **body):
    return client.post(SEND, {"content": content, **body}, content_type="application/json")


class ScriptedProviderTests(TestCase):
    def setUp(self):
        self.client.force_login(make_user())

    def test_a_block_gets_the_provider_that_the_views_find(self):
        with scripted_provider(Script(["Hel", "lo"])) as provider:
            streamed = read_stream(send(self.client))

        assert streamed.text == "Hello"
        assert provider.calls[0].prompt.turns == (Turn("user", "Hi"),)
        assert provider.calls[0].whole
        assert provider.calls[0].ended

    @scripted_provider(Script("First"), default=Script("Any other"))
    def test_scripts_are_used_once_each_then_the_default(self, provider):
        texts = [read_stream(send(self.client)).text for _ in range(3)]

        assert texts == ["First", "Any other", "Any other"]

        provider.script(Script("Later"))

        assert read_stream(send(self.client)).text == "Later"

    def test_everything_a_reply_can_hold(self):
        script = Script("Sunny.", reasoning=["Let me ", "see."], tool_calls=[("weather", '{"city":"Lisbon"}')])
        with scripted_provider(script):
            streamed = read_stream(send(self.client))

        reply = Message.objects.get(pk=streamed.start["message"])

        assert {frame.event for frame in streamed.frames} == {"start", "reasoning", "", "tool_call", "done"}
        assert [part["kind"] for part in reply.parts] == ["reasoning", "text", "tool_call"]
        assert reply.parts[2]["name"] == "weather"
        assert streamed.end["usage"]["output_tokens"] == 4

    def test_an_error_before_the_first_piece_and_after_it(self):
        with scripted_provider(Script([], error="provider_auth"), Script("Half", error="provider_error")):
            ends = [read_stream(send(self.client)).end for _ in range(2)]

        assert [(end["status"], end["error"]["code"]) for end in ends] == [
            ("failed", "provider_auth"),
            ("interrupted", "provider_error"),
        ]

    def test_a_retryable_error_is_tried_again(self):
        busy = Script([], error="provider_rate_limited", retryable=True, retry_after=0.01)
        with scripted_provider(busy, busy, Script("At last")) as provider:
            streamed = read_stream(send(self.client))

        assert streamed.text == "At last"
        assert len(provider.calls) == 3

    def test_further_settings_hold_with_it(self):
        with scripted_provider(STREAMING_CHAT_SYSTEM_PROMPT="Be brief.") as provider:
            read_stream(send(self.client))

        assert provider.calls[0].prompt.system == "Be brief."

    def test_a_gate_holds_a_reply_half_way(self):
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            content = iter(send(self.client).streaming_content)
            half = b""
            while b"It " not in half:
                half += next(content)
            gate.wait_reached()
            gate.open()
            whole = Streamed(half + b"".join(content))

        assert b"It " in half
        assert b"rains" not in half
        assert whole.text == "It rains"

    async def test_an_async_test_does_the_same(self):
        client = AsyncClient()
        await client.aforce_login(await sync_to_async(make_user)())
        gate = Gate()
        with scripted_provider(Script(["It ", "rains"], gates={1: gate})):
            response = await client.post(SEND, {"content": "Hi"}, content_type="application/json")
            await gate.until_reached()
            gate.open()

            assert (await aread_stream(response)).text == "It rains"


@scripted_provider(default=Script("Decorated"))
class ClassTests(TestCase):
    def test_a_class_gets_a_new_provider_for_each_test(self):
        self.client.force_login(make_user())

        assert read_stream(send(self.client)).text == "Decorated"
        assert len(self.provider.calls) == 1

    test_and_again = test_a_class_gets_a_new_provider_for_each_test


class WithoutTransactionTests(TransactionTestCase):
    def test_the_writer_saves(self):
        """Not inside a transaction: another thread sees the rows, so it may save them."""
        self.client.force_login(make_user())
        with scripted_provider(Script("Saved")):
            message = read_stream(send(self.client)).start["message"]
            wait_until_saved()

        assert Message.objects.get(pk=message).text == "Saved"


class StreamedTests(SimpleTestCase):
    def test_heartbeats_are_no_frames(self):
        streamed = Streamed(b':\n:\nid: m/6\ndata: {"text":"Hello"}\n\n:\ndata: [DONE]\n\n')

        assert [frame.data for frame in streamed.frames] == [{"text": "Hello"}, "[DONE]"]

    def test_a_stream_that_was_cut_has_no_ending(self):
        with self.assertRaisesMessage(KeyError, "done or stopped"):
            _ = Streamed(b'id: m/6\ndata: {"text":"Hello"}\n\n').end
