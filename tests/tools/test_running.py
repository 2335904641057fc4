"""Replies in which tools run, with each of the three APIs behind the site: what it is sent, what is stored, what runs."""

from django.contrib.auth.models import Permission
from django.test import override_settings

from streaming_chat.models import ProviderState, ReplyEvent, ToolCall
from tests.provider_server import Script
from tests.servers import WIRES, outcome

from . import shop
from .cases import ToolsCase, joined, kinds, results, rows, unpaired

TWO = [("weather", '{"city": "Köln"}'), ("clock", "{}")]
ONE = [("weather", '{"city": "Bonn"}')]
SKIES = ['{"city": "Köln", "sky": "clear"}', "12:00", '{"city": "Bonn", "sky": "clear"}']


def call(name, arguments="{}", *, text="I look."):
    return Script([text], tool_calls=[(name, arguments)])


class RunningTests(ToolsCase):
    def each_wire(self):
        for wire in WIRES:
            with self.subTest(wire):
                self.provider.clear()
                yield wire

    def test_two_calls_another_one_and_the_answer(self):
        for wire in self.each_wire():
            self.provider.script(
                Script(["I look."], tool_calls=TWO), Script(["And there?"], tool_calls=ONE), Script(["All clear."])
            )
            reply = self.ask(model=f"{wire}:any")

            assert outcome(reply) == ("completed", "stop", "")
            assert reply.text == "I look.\n\nAnd there?\n\nAll clear."
            assert kinds(reply) == [
                *("step", "text", "tool_call", "tool_call", "tool_result", "tool_result"),
                *("step", "text", "tool_call", "tool_result"),
                *("step", "text"),
            ]
            assert results(reply) == [("ok", text) for text in SKIES]
            assert rows(reply) == [("weather", "ok"), ("clock", "ok"), ("weather", "ok")]
            assert [*ToolCall.objects.filter(message=reply).values_list("step", flat=True)] == [1, 1, 2]
            assert (reply.input_tokens, reply.output_tokens) == (21, 12)
            assert len(self.provider.calls) == 3

    def test_what_the_provider_is_sent(self):
        """Two calls in one turn, their results in the next one, in the order of the calls, and all again with the next."""
        for wire in self.each_wire():
            self.provider.script(
                Script(["I look."], tool_calls=TWO), Script(["And there?"], tool_calls=ONE), Script(["All clear."])
            )
            self.ask(model=f"{wire}:any")
            bodies = [each.body for each in self.provider.calls]

            assert [sent_results(body) for body in bodies] == [[], SKIES[:2], SKIES]
            assert all(sent_names(body) == [*shop.tools.declared] for body in bodies)

    def test_a_later_turn_has_the_calls_and_the_results(self):
        for wire in self.each_wire():
            self.provider.script(Script(["I look."], tool_calls=TWO), Script(["All clear."]), Script(["Yes."]))
            reply = self.ask(model=f"{wire}:any")
            path = f"api/conversations/{reply.conversation_id}/messages"
            self.browser.post(path, {"content": "Sure?"}).rest()

            assert sent_results(self.provider.calls[-1].body) == SKIES[:2]
            assert "Sure?" in str(self.provider.calls[-1].body)

    def test_a_model_that_never_stops_calling(self):
        self.provider.default, default = call("clock"), self.provider.default
        try:
            with override_settings(STREAMING_CHAT_MAX_STEPS=3):
                reply = self.ask()
        finally:
            self.provider.default = default

        assert outcome(reply) == ("completed", "max_steps", "")
        assert len(self.provider.calls) == 3
        assert [status for status, _text in results(reply)] == ["ok", "ok", "cancelled"]
        assert "limit of steps" in results(reply)[-1][1]
        assert not unpaired(reply.parts)

    def test_nothing_is_left_of_a_reply(self):
        self.provider.script(call("clock"), Script(["Noon."]))
        self.ask()

        assert not ReplyEvent.objects.exists()
        assert not ProviderState.objects.exists()

    def test_calls_that_do_not_run(self):
        """The model is told why, and goes on."""
        for name, arguments, status, text in (
            ("nothing", "{}", "error", "no tool named nothing"),
            ("weather", '{"town": "Köln"}', "error", "city"),
            ("weather", '{"city": ', "error", "not complete JSON"),
            ("people", "{}", "denied", "permission"),
            ("broken", "{}", "error", "The tool failed"),
            ("hopeless", "{}", "error", "Ask for the number first."),
            ("slow", "{}", "error", "within 0.1 seconds"),
            ("slow_write", "{}", "unknown", "may have had its effect"),
        ):
            with self.subTest(name, arguments=arguments):
                self.provider.script(call(name, arguments), Script(["Sorry."]))
                reply = self.ask()

                assert outcome(reply) == ("completed", "stop", "")
                [(found, output)] = results(reply)
                assert (found, text in output) == (status, True), output
                assert "secret" not in output
                assert rows(reply) == [(name, status)]
                assert output in str(self.provider.calls[-1].body["messages"][-1]["content"])

    def test_errors_that_end_more_than_a_call(self):
        """SystemExit would end the event loop of the server, and StopIteration cannot be raised into a future."""
        for name, errors in (("ending", 5), ("ending_later", 4)):
            for number in range(errors):
                with self.subTest(name, number=number):
                    self.provider.clear()
                    calls = [(name, f'{{"number": {number}}}'), ("clock", "{}")]
                    self.provider.script(Script(tool_calls=calls), Script(["Sorry."]))
                    with self.assertLogs("streaming_chat", "ERROR"):
                        reply = self.ask()

                    assert outcome(reply) == ("completed", "stop", "")
                    [(status, output), clock] = results(reply)
                    assert (status, "The tool failed" in output, clock) == ("error", True, ("ok", "12:00"))

    def test_a_tool_acts_as_the_owner(self):
        self.browser.user.user_permissions.add(Permission.objects.get(codename="view_user"))
        self.provider.script(Script(tool_calls=[("people", "{}"), ("named", "{}")]), Script(["One."]))
        reply = self.ask()

        assert results(reply) == [("ok", "1"), ("ok", f"{self.browser.user.get_username()} True")]

    def test_a_long_result_is_cut_off(self):
        self.provider.script(call("long", '{"chars": 1000}'), Script(["Long."]))
        with override_settings(STREAMING_CHAT_MAX_TOOL_OUTPUT_CHARS=100):
            reply = self.ask()

        [(status, output)] = results(reply)
        assert (status, output[:101]) == ("ok", "x" * 100 + "\n")
        assert "it had 1000 characters" in output

    def test_calls_that_the_output_limit_has_cut_off(self):
        self.provider.script(Script(["I look."], tool_calls=[("refund", '{"order": 1')], finish="length"))
        reply = self.ask()

        assert outcome(reply) == ("completed", "length", "")
        assert [status for status, _text in results(reply)] == ["cancelled"]
        assert shop.ledger() == []

    def test_the_stream_is_what_is_stored(self):
        self.provider.script(Script(["I look."], tool_calls=TWO), Script(["All clear."]))
        exchange = self.browser.send("Hello", model="openai:any").rest()
        names = [frame.event for frame in exchange.frames if frame.data != "[DONE]"]

        assert names[:2] == ["start", "step"]
        assert names.count("tool_result") == 2
        whole = [frame.raw for frame in exchange.frames]
        for frame in exchange.frames[:-2]:
            followed = self.browser.follow(exchange.message_id, frame.id).rest()
            position = whole.index(frame.raw)

            assert joined(followed.frames) == joined(exchange.frames[position + 1 :])

    def test_a_later_step_is_asked_again(self):
        """As the first one, if it failed before its first event."""
        failed = Script(status=503, body={"error": {"message": "busy"}}, headers={"retry-after": "0"})
        self.provider.script(call("clock"), failed, Script(["Noon."]))
        reply = self.ask()

        assert outcome(reply) == ("completed", "stop", "")
        assert kinds(reply) == ["step", "text", "tool_call", "tool_result", "step", "text"]
        assert sent_results(self.provider.calls[2].body) == ["12:00"]

    def test_a_later_step_that_breaks(self):
        """What there is of the reply stays, and the tools do not run again."""
        order = '{"order": 1, "amount": "2"}'
        self.provider.script(call("refund", order), Script(["It ", "is"], fault="reset", after=1))
        reply = self.ask()

        assert outcome(reply)[0] == "interrupted"
        assert results(reply) == [("ok", "refunded 1")]
        assert reply.text == "I look.\n\nIt "
        assert [line for line in shop.ledger() if line.startswith("begin")] == ["begin 1"]

    def test_texts_that_no_database_takes(self):
        self.provider.script(call("weather", '{"city": "\\u0000\\ud83d"}'), Script(["Odd."]))
        reply = self.ask()

        assert outcome(reply) == ("completed", "stop", "")
        assert not unpaired(reply.parts)

    def test_ids_that_a_server_repeats(self):
        """Each call of the loopback provider is call_0; the rows and the pairs are told apart all the same."""
        self.provider.script(call("clock"), call("weather", '{"city": "Bonn"}'), Script(["Clear."]))
        reply = self.ask()
        ids = [part["id"] for part in reply.parts if part["kind"] == "tool_call"]

        assert ids == ["call_0", "call_2_0"]
        assert ToolCall.objects.filter(message=reply).count() == 2

    def test_a_model_without_tools_gets_none(self):
        self.provider.script(Script(["Hello."]))
        reply = self.ask(model="openai:other")

        assert kinds(reply) == ["text"]
        assert "tools" not in self.provider.calls[-1].body


def sent_results(body):
    """Return the results in a request, in order."""
    if "input" in body:
        return [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    if any(message["role"] == "tool" for message in body["messages"]):
        return [message["content"] for message in body["messages"] if message["role"] == "tool"]
    blocks = [
        block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]
    ]
    return [block["content"] for block in blocks if block["type"] == "tool_result"]


def sent_names(body):
    return [tool.get("name") or tool["function"]["name"] for tool in body["tools"]]
