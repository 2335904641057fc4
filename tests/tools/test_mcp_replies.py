"""Replies whose provider calls the tools of a real MCP server: list, call, error, slow and gone."""

from contextlib import contextmanager

import pytest
from django.test import override_settings

from streaming_chat.models import ToolCall
from streaming_chat.tools import McpToolbox
from tests.provider_server import Script
from tests.servers import WIRES, outcome

from .cases import ToolsCase, results, rows, unpaired, waiting
from .test_mcp import Server

pytestmark = pytest.mark.once

# Of the test that runs: what STREAMING_CHAT_TOOLS names.
toolbox: McpToolbox

WRITE = ("shop_write", '{"item": {"name": "a lamp"}}')


@override_settings(
    STREAMING_CHAT_TOOLS={"mcp": f"{__name__}.toolbox"},
    STREAMING_CHAT_MODEL_OPTIONS={f"{wire}:any": {"tools": ["mcp"]} for wire in WIRES},
)
class McpReplyCase(ToolsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mcp = Server()
        cls.addClassCleanup(cls.mcp.stop)

    def setUp(self):
        super().setUp()
        self.use(self.mcp)

    def use(self, server, query="", **options):
        """Let the models have the tools of a server."""
        global toolbox  # noqa: PLW0603  (the settings name it)
        toolbox = McpToolbox(server.url + query, **{"approval": False, **options})

    @contextmanager
    def own_server(self, **options):
        """Run a server for a test that ends it."""
        server = Server()
        try:
            self.use(server, **options)
            yield server
        finally:
            if not server.process.stdout.closed:
                server.stop()

    def called(self, *calls, model="openai:any", **body):
        """Let the model call, and then answer; return the reply, and the results that the provider was sent."""
        self.provider.clear()
        self.provider.script(Script(["I look."], tool_calls=calls), Script(["That is it."]))
        reply = self.ask(model=model, **body)

        assert outcome(reply) == ("completed", "stop", "")
        assert reply.text == "I look.\n\nThat is it."
        assert not unpaired(reply.parts)
        return reply


class CallTests(McpReplyCase):
    def test_what_the_model_is_given_and_told(self):
        for wire in WIRES:
            with self.subTest(wire):
                reply = self.called(("add", '{"a": 1, "b": 2}'), WRITE, model=f"{wire}:any")
                first, last = (str(call.body) for call in self.provider.calls)

                assert results(reply) == [("ok", "3"), ("ok", "Saved a lamp.")]
                assert rows(reply) == [("add", "ok"), ("shop_write", "ok")]
                assert self.mcp.process.stdout.readline() == "write a lamp\n"
                assert "Add two numbers." in first
                assert "Saved a lamp." in last

    def test_errors_are_for_the_model(self):
        reply = self.called(("fail", "{}"), ("add", '{"a": 1}'), ("nothing", "{}"))
        [failed, invalid, unknown] = results(reply)

        assert (failed[0], "There is no such order." in failed[1]) == ("error", True)
        assert (invalid[0], "'b' is a required property" in invalid[1]) == ("error", True)
        assert unknown == ("error", "There is no tool named nothing.")

    def test_a_person_is_asked_before_a_tool_that_may_change_something(self):
        self.use(self.mcp, approval="unless_read_only")
        self.provider.script(Script(["I look."], tool_calls=[("add", '{"a": 1, "b": 2}'), WRITE]), Script(["Saved."]))
        exchange = self.browser.send("Save it", model="openai:any")
        exchange.until(lambda: exchange.frames and exchange.frames[-1].event == "approval")
        reply = waiting(exchange.message_id)

        assert rows(reply) == [("add", "ok"), ("shop_write", "waiting")]

        self.browser.post(
            f"api/messages/{reply.pk}/answers", {"answers": [{"call": "call_1", "approved": True}]}
        ).json()
        exchange.rest()
        reply = self.ended(reply.pk)

        assert results(reply) == [("ok", "3"), ("ok", "Saved a lamp.")]
        assert self.mcp.process.stdout.readline() == "write a lamp\n"

    def test_an_answer_without_an_end(self):
        self.use(self.mcp, "?flood=tools/call&as=json")
        reply = self.called(("add", '{"a": 1, "b": 2}'))
        [(status, output)] = results(reply)

        assert (status, "too long to be read" in output) == ("error", True)
        assert self.mcp.process.stdout.readline().startswith("flooded ")


class SlowTests(McpReplyCase):
    def test_a_call_that_takes_too_long(self):
        self.use(self.mcp, timeout=1)
        reply = self.called(("slow", "{}"))
        [(status, output)] = results(reply)

        assert (status, "did not answer within 1 seconds" in output) == ("unknown", True)

    def test_a_stop_while_a_call_runs(self):
        with self.own_server() as server:
            self.provider.script(Script(["I look."], tool_calls=[("slow", "{}")]))
            exchange = self.browser.send("Hello", model="openai:any")
            exchange.until(lambda: exchange.frames)
            assert server.process.stdout.readline() == "slow\n"

            self.browser.stop(exchange.message_id).json()
            exchange.rest()
            reply = self.ended(exchange.message_id)

            assert outcome(reply) == ("stopped", "user", "")
            assert [status for status, _output in results(reply)] == ["cancelled"]
            assert rows(reply) == [("slow", "cancelled")]


class GoneTests(McpReplyCase):
    def test_before_the_conversation_began(self):
        """The chat goes on without its tools."""
        with self.own_server() as server:
            server.stop()
            self.provider.script(Script(["Hello."]))
            reply = self.ask()

        assert outcome(reply) == ("completed", "stop", "")
        assert "tools" not in self.provider.calls[-1].body
        assert not ToolCall.objects.exists()

    def test_before_a_call(self):
        with self.own_server() as server:
            self.provider.script(Script(["Hello."]))
            conversation = self.ask().conversation_id
            server.stop()
            self.provider.clear()
            self.provider.script(Script(["I save."], tool_calls=[WRITE]), Script(["It is gone."]))
            exchange = self.browser.post(
                f"api/conversations/{conversation}/messages", {"content": "Save it", "model": "openai:any"}
            ).rest()
            reply = self.ended(exchange.message_id)

        [(status, output)] = results(reply)
        assert (status, "so the call was not run" in output) == ("error", True)
        assert reply.text == "I save.\n\nIt is gone."

    def test_during_a_call(self):
        """The model is not told that nothing has happened."""
        with self.own_server() as server:
            reply = self.called(("die", "{}"))

            assert server.stop() == ["die"]

        [(status, output)] = results(reply)
        assert (status, "may have had its effect" in output) == ("error", True)
