"""streaming_chat.testing, as a site's own tests use it."""

import asyncio

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import AsyncClient, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from streaming_chat.models import Message
from streaming_chat.testing import (
    Gate,
    Script,
    Streamed,
    Turn,
    acall_tool,
    answer_calls,
    aread_stream,
    aread_until_waiting,
    call_tool,
    read_stream,
    read_until_waiting,
    scripted_provider,
    wait_until_saved,
)
from streaming_chat.tools import Toolbox, ToolError

from .factories import make_user

SEND = "/chat/api/messages"
TOOLS = {"STREAMING_CHAT_TOOLS": {"desk": f"{__name__}.desk"}}

desk = Toolbox()


@desk.tool(permission="auth.view_user")
def count_users(context) -> int:
    """Count the users."""
    return get_user_model().objects.count()


@desk.tool
async def name_of_user(context) -> str:
    """Tell the user's name."""
    user = await context.auser()
    return user.get_username() if user else "a visitor"


@desk.tool(effect="write", approval=lambda context, arguments: arguments.copies > 10, editable=True)
def print_pages(context, copies: int) -> str:
    """Print."""
    return f"printed {copies} for {context.user().get_username()}"


@desk.tool(effect="write", timeout=0.05)
async def hang(context) -> None:
    """Take too long."""
    await asyncio.Event().wait()


@desk.tool(runs="client")
def locate(context) -> str:
    """Say where the user is."""


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


class CallToolTests(TestCase):
    """One tool by itself, which sees what the test has saved."""

    def setUp(self):
        self.user = make_user()

    def test_a_result(self):
        self.user.user_permissions.add(Permission.objects.get(codename="view_user"))

        assert call_tool(desk, "count_users", user=self.user) == ("ok", "1")
        assert call_tool(desk, "name_of_user", user=self.user) == ("ok", self.user.get_username())
        assert call_tool(desk, "name_of_user") == ("ok", "a visitor")

    def test_without_the_permission(self):
        assert call_tool(desk, "count_users", user=self.user).status == "denied"
        assert call_tool(desk, "count_users").status == "denied"

    def test_arguments_that_are_not_valid(self):
        refused = call_tool(desk, "print_pages", {"copies": "many"}, user=self.user)

        assert (refused.status, "copies" in refused.output) == ("error", True)

    def test_an_approval(self):
        assert call_tool(desk, "print_pages", {"copies": 5}, user=self.user).status == "ok"
        assert call_tool(desk, "print_pages", {"copies": 50}, user=self.user) == ("waiting", "")
        assert call_tool(desk, "print_pages", {"copies": 50}, user=self.user, approved=True).status == "ok"
        assert call_tool(desk, "locate", user=self.user, approved=True) == ("waiting", "")

    def test_a_timeout(self):
        assert call_tool(desk, "hang", user=self.user).status == "unknown"

    def test_a_tool_that_is_not_there(self):
        with self.assertRaises(KeyError):
            call_tool(desk, "print")

    async def test_in_an_asynchronous_test(self):
        assert await acall_tool(desk, "name_of_user", user=self.user) == ("ok", self.user.get_username())
        assert (await acall_tool(desk, "print_pages", {"copies": 1}, user=self.user)).status == "ok"


@override_settings(**TOOLS)
class RepliesWithToolsTests(TransactionTestCase):
    def setUp(self):
        self.addCleanup(wait_until_saved)
        self.user = make_user()
        self.client.force_login(self.user)

    def test_the_model_gets_the_result(self):
        asks = Script("I look.", tool_calls=[("name_of_user", {})])
        with scripted_provider(asks, Script("Hello."), tools=["desk"]) as provider:
            streamed = read_stream(send(self.client))

        assert streamed.text == "I look.\n\nHello."
        assert [call["name"] for call in streamed.tool_calls] == ["name_of_user"]
        assert [(result["id"], result["output"]) for result in streamed.tool_results] == [
            ("call_0", self.user.get_username())
        ]
        assert provider.calls[1].prompt.turns[-1].text == self.user.get_username()
        assert Message.objects.get(pk=streamed.message_id).tool_calls.get().status == "ok"

    def test_scripted_results(self):
        """Of tools that are checked as ever, and of one that is not there."""
        calls = [("print_pages", {"copies": 1}), ("count_users", {}), ("print_pages", {}), ("search", {"word": "x"})]
        results = {"print_pages": ToolError("No paper."), "count_users": 7, "search": ["found"]}
        with scripted_provider(Script(tool_calls=calls), tools=["desk"], results=results):
            streamed = read_stream(send(self.client))

        told = [(result["status"], result["output"]) for result in streamed.tool_results]
        assert told[0] == ("error", "No paper.")
        assert told[1][0] == "denied"
        assert (told[2][0], "copies" in told[2][1]) == ("error", True)
        assert told[3] == ("ok", '["found"]')

    def test_an_answer(self):
        """The same for all calls, or for one after the other."""
        asks = Script("Much.", tool_calls=[("print_pages", {"copies": 20}), ("print_pages", {"copies": 30})])
        with scripted_provider(asks, Script("Done."), tools=["desk"]):
            waiting = read_until_waiting(send(self.client))
            assert [call["id"] for call in waiting.waiting_calls] == ["call_0", "call_1"]
            assert Message.objects.get(pk=waiting.message_id).status == "waiting"
            answer_calls(self.client, waiting, calls=["call_1"], approved=False, reason="No.").close()
            streamed = read_stream(answer_calls(self.client, waiting, calls=["call_0"], approved=True))

        assert [result["status"] for result in streamed.tool_results] == ["ok", "denied"]
        assert streamed.text == "\n\nDone."
        assert streamed.waiting_calls == []
        assert streamed.end["status"] == "completed"

    def test_the_output_of_a_client(self):
        with scripted_provider(Script(tool_calls=[("locate", {})]), Script("There."), tools=["desk"]):
            streamed = read_stream(answer_calls(self.client, read_until_waiting(send(self.client)), output="Köln"))

        assert [result["output"] for result in streamed.tool_results] == ["Köln"]

    def test_a_reply_that_does_not_wait(self):
        with scripted_provider(Script("No."), tools=["desk"]), self.assertRaisesMessage(AssertionError, "did not wait"):
            read_until_waiting(send(self.client))

    async def test_in_an_asynchronous_test(self):
        client = AsyncClient()
        await client.aforce_login(self.user)
        asks = Script(tool_calls=[("print_pages", {"copies": 20})])
        with scripted_provider(asks, Script("Done."), tools=["desk"]):
            waiting = await aread_until_waiting(await send(client))
            streamed = await aread_stream(await answer_calls(client, waiting))

        assert [result["output"] for result in streamed.tool_results] == [f"printed 20 for {self.user.get_username()}"]

    def test_a_block_inside_a_block(self):
        """Has its own results, and the outer ones are there again after it."""
        call = Script(tool_calls=[("search", {})])
        with scripted_provider(call, results={"search": "outer"}):
            with scripted_provider(call, results={"search": "inner"}):
                inner = read_stream(send(self.client))
            outer = read_stream(send(self.client))

        assert [streamed.tool_results[0]["output"] for streamed in (inner, outer)] == ["inner", "outer"]


class InATransactionTests(TestCase):
    def test_tools_would_not_see_its_rows(self):
        with self.assertRaisesMessage(ValueError, "TransactionTestCase"), scripted_provider(tools=["desk"]):
            pass


class StreamedTests(SimpleTestCase):
    def test_heartbeats_are_no_frames(self):
        streamed = Streamed(b':\n:\nid: m/6\ndata: {"text":"Hello"}\n\n:\ndata: [DONE]\n\n')

        assert [frame.data for frame in streamed.frames] == [{"text": "Hello"}, "[DONE]"]

    def test_a_stream_that_was_cut_has_no_ending(self):
        with self.assertRaisesMessage(KeyError, "done or stopped"):
            _ = Streamed(b'id: m/6\ndata: {"text":"Hello"}\n\n').end
