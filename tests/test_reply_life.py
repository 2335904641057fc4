"""How replies end: each ending with the row, what the reader was told, and the provider's own record of what it sent."""

from django.test import override_settings

from streaming_chat.models import Message

from .provider_server import Call, Gate, Script, unused_port
from .servers import WIRES, ServerTestCase, held, outcome, received_text, site

DELTAS = ("Hel", "lo ", "wörld", " 😀")
TEXT = "".join(DELTAS)
# Long enough that no other timeout ends first on a busy machine, short enough for a test.
SHORT = 0.6


def messages_of(call: Call) -> list:
    """Return the messages of a request."""
    return call.body.get("messages") or call.body["input"]


class Endings(ServerTestCase):
    """What all tests of endings ask."""

    def check(self, message: Message, expected: tuple[str, str, str], calls: int = 1) -> None:
        """Look at the row and at the provider's calls for it; what is saved is a prefix of what was sent."""
        asked = message.parent.text
        self.provider.wait_for(lambda: all(call.ended for call in self.calls(asked)))

        assert outcome(message) == expected
        assert len(self.calls(asked)) == calls
        if calls:
            assert self.calls(asked)[-1].text.startswith(received_text(message))
        assert message.ended_at is not None
        assert message.conversation.last_status == message.status

    def calls(self, asked: str) -> list:
        """Return the provider's calls for a user's message."""
        return [call for call in self.provider.calls if call.prompt == asked]

    def read(self, exchange) -> Message:
        """Read to the ending; the row has ended when a reader knows, and one ending is all that it gets."""
        exchange.until(lambda: exchange.endings)
        message = Message.objects.get(pk=exchange.message_id)
        exchange.rest()
        end = exchange.endings[0].data

        assert len(exchange.endings) == 1
        assert exchange.frames[-1].data == "[DONE]"
        assert exchange.text == message.text
        assert (end["status"], end["length"]) == (message.status, len(message.text))
        return message

    def options(self, **options):
        """Return a context in which every provider has these OPTIONS, too."""
        providers = site(self.provider)["STREAMING_CHAT_PROVIDERS"]
        for entry in providers.values():
            entry["OPTIONS"] |= options
        return self.settings(STREAMING_CHAT_PROVIDERS=providers)

    def say(self, wire: str, content: str, script: Script):
        """Send a message whose reply follows the script."""
        asked = f"{wire} {content}"
        self.provider.by_text[asked] = script
        return self.browser.send(asked, model=f"{wire}:any")


class FinishTests(Endings):
    def test_a_finished_reply_is_complete(self):
        for wire in WIRES:
            with self.subTest(wire):
                message = self.read(self.say(wire, "finish", Script(DELTAS, reasoning=("Let me think.",))))

                self.check(message, ("completed", "stop", ""))
                assert message.parts == [
                    {"kind": "reasoning", "text": "Let me think."},
                    {"kind": "text", "text": TEXT},
                ]
                assert (message.input_tokens, message.output_tokens) == (7, 4)
                assert not message.tokens_estimated
                assert message.request_id == "req_loopback"
                assert self.calls(message.parent.text)[0].whole

    def test_tool_calls_are_kept(self):
        for wire in WIRES:
            with self.subTest(wire):
                script = Script(DELTAS, tool_calls=[("weather", '{"city":"Lisbon"}')])
                message = self.read(self.say(wire, "tools", script))

                self.check(message, ("completed", "tool_calls", ""))
                assert message.parts[-1]["arguments"] == '{"city":"Lisbon"}'
                assert message.parts[-1]["complete"] is True

    def test_a_reply_without_a_word_has_failed(self):
        for wire in WIRES:
            with self.subTest(wire):
                message = self.read(self.say(wire, "nothing", Script(())))

                self.check(message, ("failed", "", "empty"))

    def test_a_reply_without_an_answer_has_failed(self):
        """Whatever its provider calls it. What was received is kept for staff."""
        budget = {"openai": "length", "anthropic": "max_tokens", "responses": "max_output_tokens"}
        for wire in WIRES:
            scripts = {
                "blank": (Script(("\n", " \u200b")), "empty"),
                "blank and long": (Script((" ",), finish=budget[wire]), "empty"),
                "reasoning": (Script((), reasoning=("Hm.",)), "reasoning_only"),
                "all budget": (Script((), reasoning=("Hm.",), finish=budget[wire]), "reasoning_only"),
            }
            for name, (script, code) in scripts.items():
                with self.subTest(f"{wire} {name}"):
                    message = self.read(self.say(wire, name, script))

                    self.check(message, ("failed", "", code))
                    assert message.text == script.text
                    assert message.finish_reason in ("stop", "end_turn", "completed", budget[wire])
                    assert [part["text"] for part in message.parts] == [*script.reasoning, *filter(None, [script.text])]

    def test_a_conversation_goes_on_after_a_blank_reply(self):
        """Anthropic's API rejects a conversation with a blank text in it, and would for ever."""
        for wire in WIRES:
            with self.subTest(wire):
                blank = self.read(self.say(wire, "first", Script((" \n",))))
                self.provider.by_text[f"{wire} first\n\nsecond"] = Script(DELTAS)
                exchange = self.browser.post(
                    f"api/conversations/{blank.conversation_id}/messages", {"content": "second"}
                )
                message = self.read(exchange)

                assert outcome(message) == ("completed", "stop", "")
                assert len(messages_of(self.provider.calls[-1])) == 1
                assert self.provider.calls[-1].prompt == f"{wire} first\n\nsecond"

    def test_deltas_arrive_one_by_one(self):
        gates = {number: Gate() for number in range(1, 4)}
        with held(*gates.values()):
            exchange = self.say("openai", "slowly", Script(DELTAS, gates=gates))
            for number, gate in gates.items():
                exchange.until_text("".join(DELTAS[:number]))
                gate.open()
            message = self.read(exchange)

        self.check(message, ("completed", "stop", ""))

    def test_every_write_is_whole_frames(self):
        exchange = self.say("openai", "at once", Script(["é" * 50, "x" * 9000, "😀" * 9000], writes="whole"))
        message = self.read(exchange)

        self.check(message, ("completed", "stop", ""))
        assert all(write.endswith(b"\n\n") and len(write) < 65536 for write in exchange.writes)
        assert all(len(frame.data["text"]) <= 4096 for frame in exchange.frames[:-1])

    def test_a_large_tool_call_is_one_write(self):
        """Django's ASGI handler would send it in pieces of 65,536 bytes."""
        arguments = '{"text":"' + "é" * 40_000 + '"}'
        exchange = self.say("openai", "large call", Script(["Look: "], tool_calls=[("show", arguments)]))
        message = self.read(exchange)
        calls = [frame for frame in exchange.frames if frame.event == "tool_call"]

        self.check(message, ("completed", "tool_calls", ""))
        assert [call.data["tool_call"]["arguments"] for call in calls] == [arguments]
        assert len(calls[0].raw) > 3 * 65_536
        assert all(write.endswith(b"\n\n") for write in exchange.writes)


class StopTests(Endings):
    def stopped(self, wire: str, **body) -> tuple:
        gate = Gate()
        with held(gate):
            exchange = self.say(wire, f"stop {body}", Script(DELTAS, gates={2: gate}))
            exchange.until_text("Hello ")
            answer = self.browser.stop(exchange.message_id, **body)
            status, shape = answer.status, answer.json()
            message = self.read(exchange)
        return exchange, message, status, shape

    def test_a_stop_keeps_what_was_received(self):
        for wire in WIRES:
            with self.subTest(wire):
                _exchange, message, status, shape = self.stopped(wire)

                self.check(message, ("stopped", "user", ""))
                assert (status, shape["status"], shape["text"]) == (200, "stopped", "Hello ")
                assert message.text == "Hello "
                assert message.cut_position is None
                assert self.calls(message.parent.text)[0].closed_early

    def test_a_stop_with_a_position_ends_the_reply_there(self):
        """The reader that had more takes it back; staff still have all that was received."""
        for position in (1, 3, 7, 100):
            with self.subTest(position):
                exchange, message, _status, shape = self.stopped("openai", position=position)
                shown = "Hello "[: position - 1]

                self.check(message, ("stopped", "user", ""))
                assert message.text == shape["text"] == shown
                assert received_text(message) == "Hello "
                assert message.cut_position == (position if position < 7 else None)
                assert any(frame.event == "reset" for frame in exchange.frames) == (position < 7)

    def test_the_position_may_be_an_events_id(self):
        gate = Gate()
        with held(gate):
            exchange = self.say("openai", "stop by id", Script(DELTAS, gates={2: gate})).until_text("Hello ")
            self.browser.stop(exchange.message_id, position=f"{exchange.message_id}/4").json()
            message = self.read(exchange)

        assert message.cut_position == 4
        assert message.text == "Hel"

    def test_a_stop_before_the_first_word_is_a_stop(self):
        gate = Gate()
        with held(gate):
            exchange = self.say("openai", "stop at once", Script(DELTAS, gates={0: gate}))
            exchange.until(lambda: exchange.frames)
            gate.wait_reached()
            self.browser.stop(exchange.message_id).json()
            message = self.read(exchange)

        self.check(message, ("stopped", "user", ""))
        assert message.parts == []

    def test_a_second_stop_says_the_same(self):
        exchange, message, _status, shape = self.stopped("openai", position=3)
        again = self.browser.stop(exchange.message_id, position=1)

        assert again.status == 200
        assert again.json() == shape
        assert self.ended(message.pk).cut_position == 3


class ProviderFaultTests(Endings):
    # Script -> outcome, calls of the provider.
    FAULTS = {
        "401": (Script(status=401, body={"error": {"message": "key"}}), ("failed", "", "provider_auth"), 1),
        "429 long": (
            Script(status=429, headers={"retry-after": "60"}, body={}),
            ("failed", "", "provider_rate_limited"),
            1,
        ),
        "429": (
            Script(status=429, headers={"retry-after": "0"}, body={}),
            ("failed", "", "provider_rate_limited"),
            3,
        ),
        "500": (
            Script(status=500, headers={"retry-after": "0"}, body={}),
            ("failed", "", "provider_unavailable"),
            3,
        ),
        "529": (
            Script(status=529, headers={"retry-after": "0"}, body={}),
            ("failed", "", "provider_unavailable"),
            3,
        ),
        "reset": (
            Script(DELTAS, fault="reset", after=3),
            ("interrupted", "provider_truncated", "provider_truncated"),
            1,
        ),
        "drop": (Script(DELTAS, fault="drop", after=3), ("interrupted", "provider_truncated", "provider_truncated"), 1),
        "cut": (Script(DELTAS, fault="cut", after=3), ("interrupted", "provider_truncated", "provider_truncated"), 1),
        "bad_json": (
            Script(DELTAS, fault="bad_json", after=3),
            ("interrupted", "provider_protocol", "provider_protocol"),
            1,
        ),
        "bad_utf8": (
            Script(DELTAS, fault="bad_utf8", after=3),
            ("interrupted", "provider_protocol", "provider_protocol"),
            1,
        ),
        "error": (Script(DELTAS, fault="error", after=3), ("interrupted", "provider_error", "provider_error"), 1),
    }

    def test_every_fault_is_an_ending(self):
        """All at once, as faults come."""
        for wire in WIRES:
            exchanges = {name: self.say(wire, name, script) for name, (script, _, _) in self.FAULTS.items()}
            for name, (_script, expected, calls) in self.FAULTS.items():
                with self.subTest(f"{wire} {name}"):
                    message = self.read(exchanges[name])

                    self.check(message, expected, calls)
                    if message.status == "interrupted":
                        assert received_text(message) == "".join(DELTAS[:3])

    def test_nothing_of_an_upstream_error_reaches_the_reader(self):
        exchange = self.say("openai", "error", Script(DELTAS, fault="error", after=1))
        self.read(exchange)
        error = exchange.endings[0].data["error"]

        assert set(error) == {"code", "message", "retryable", "ref"}
        assert "secret" not in str(exchange.frames)

    def test_a_provider_that_refuses_connections_is_unavailable(self):
        with self.options(base_url=f"http://127.0.0.1:{unused_port()}/v1"):
            exchanges = [self.say(wire, "refused", Script()) for wire in WIRES]
            for exchange in exchanges:
                self.check(self.read(exchange), ("failed", "", "provider_unavailable"), 0)

    def test_the_first_event_has_a_timeout(self):
        """Retries and pings do not extend it."""
        slow = {
            "no headers": Script(fault="stall", after=-1),
            "no event": Script(fault="stall", after=0),
            "long retries": Script(status=500, headers={"retry-after": "9"}, body={}),
        }
        for wire in WIRES:
            with self.options(first_event_timeout=SHORT):
                exchanges = {name: self.say(wire, name, script) for name, script in slow.items()}
                for name, exchange in exchanges.items():
                    with self.subTest(f"{wire} {name}"):
                        self.check(self.read(exchange), ("failed", "", "provider_timeout"))

    def test_a_silent_provider_has_a_timeout(self):
        for wire in WIRES:
            with self.subTest(wire), self.options(stall_timeout=SHORT):
                message = self.read(self.say(wire, "stall", Script(DELTAS, fault="stall", after=3)))

                self.check(message, ("interrupted", "provider_stall", "provider_stall"))
                assert message.text == "Hello wörld"
                assert self.calls(message.parent.text)[0].closed_early

    def test_a_fault_before_the_first_event_is_tried_again(self):
        """One reply, and its reader sees none of it."""
        failures = (
            Script(status=500, headers={"retry-after": "0"}, body={}),
            Script(status=429, headers={"retry-after": "0"}, body={}),
            Script(fault="reset", after=-1),
            Script(DELTAS, fault="cut", after=0),
        )
        for failure in failures:
            with self.subTest(failure.fault or failure.status):
                self.provider.clear()
                self.provider.script(failure, Script(DELTAS))
                exchange = self.browser.send("again")
                message = self.read(exchange)

                self.check(message, ("completed", "stop", ""), 2)
                assert message.text == TEXT
                assert [frame.event for frame in exchange.frames].count("start") == 1

    def test_a_fault_after_the_first_event_is_not_tried_again(self):
        self.provider.script(Script(DELTAS, fault="reset", after=1), Script(DELTAS))
        message = self.read(self.browser.send("once"))

        self.check(message, ("interrupted", "provider_truncated", "provider_truncated"))
        assert message.text == "Hel"


class CapTests(Endings):
    @override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=50)
    def test_an_endless_reply_ends_at_its_cap_of_characters(self):
        for wire in WIRES:
            with self.subTest(wire):
                message = self.read(self.say(wire, "endless", Script(["0123456"], fault="endless")))

                self.check(message, ("completed", "length_cap", ""))
                assert len(message.text) == 50
                assert self.calls(message.parent.text)[0].closed_early

    @override_settings(STREAMING_CHAT_MAX_REPLY_SECONDS=SHORT)
    def test_an_endless_reply_ends_at_its_cap_of_seconds(self):
        for wire in WIRES:
            with self.subTest(wire):
                message = self.read(self.say(wire, "endless", Script(DELTAS, fault="endless", pause=0.01)))

                self.check(message, ("completed", "length_cap", ""))
                assert message.text.startswith(TEXT[:5])


class AnswerTests(Endings):
    def test_a_send_without_streaming_answers_at_the_ending(self):
        for name, script, status in (
            ("good", Script(DELTAS), "completed"),
            ("bad", Script(status=401, body={}), "failed"),
        ):
            with self.subTest(name):
                self.provider.by_text[name] = script
                answer = self.browser.send(name, stream=False)
                shape = answer.json() if answer.status == 200 else {}

                self.check(self.reply_to(name), outcome(Message.objects.get(pk=shape["message"]["id"])))
                assert shape["message"]["status"] == status
                assert shape["user_message"]["text"] == name

    def test_a_failed_reply_can_be_written_again(self):
        self.provider.script(Script(status=401, body={}), Script(DELTAS))
        failed = self.read(self.browser.send("try"))
        again = self.read(self.browser.post(f"api/messages/{failed.pk}/regenerate"))

        assert again.text == TEXT
        assert again.parent_id == failed.parent_id
        assert again.pk != failed.pk
