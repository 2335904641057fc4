"""AG-UI: what the golden files do not show of it. tests/browser/test_node_clients.py runs its client."""

import json

from django.test import SimpleTestCase

from streaming_chat.encoders.ag_ui import AGUIEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import REASONING, STEP, TEXT, TOOL_CALL, Event, length
from streaming_chat.protocol.tool_calls import approval, result
from tests.engine.streams import BEGIN, ID, stream_of, writes_of


def call(id, complete=True):
    return Event(TOOL_CALL, {"id": id, "name": "f", "arguments": "{}", "complete": complete})


def frames_of(*events, ending):
    """Return what a client is sent between the start and the end of these events, and the end."""
    stream = stream_of(*events)
    stream.end(endings.payload(ending, "", None))
    frames = read(Cursor(stream, AGUIEncoder(str(ID), thread_id="t")))
    return frames[1:-1], frames[-1]


def read(cursor):
    written = b"".join(writes_of(cursor)).decode()
    return [json.loads(frame.removeprefix("data: ")) for frame in written.split("\n\n")[:-1]]


class ToolCallTests(SimpleTestCase):
    def test_the_calls_of_a_run_are_pending_at_its_end(self):
        """Also one without an id, which gets that of its position; one that was cut off is not there."""
        inside, finished = frames_of(call("a"), call(""), call("c", False), ending=endings.completed("tool_calls"))

        assert [frame["toolCallId"] for frame in inside] == [*["a"] * 3, *["call-2"] * 3]
        assert finished["outcome"] == {"type": "success", "pendingToolCallIds": ["a", "call-2"]}

    def test_a_run_without_calls_or_a_cancelled_one_has_none_pending(self):
        for events, ending, outcome in (
            ([], endings.completed("stop"), {"type": "success"}),
            ([call("a")], endings.stopped("user"), {"type": "cancelled"}),
        ):
            assert frames_of(*events, ending=ending)[1]["outcome"] == outcome


class InterruptTests(SimpleTestCase):
    EXPIRES = "2030-01-01T00:00:00+00:00"

    def asked(self, *calls):
        asked = [{"id": name, "runs": runs, "editable": editable} for name, runs, editable in calls]
        calls = [call(each["id"]) for each in asked]
        return [Event(STEP, {"number": 1}), Event(TEXT, "I pay."), *calls, approval(asked, self.EXPIRES)]

    def outcome(self, *calls):
        stream = stream_of(*self.asked(*calls))
        return read(Cursor(stream, AGUIEncoder(str(ID), thread_id="t")))[-1]["outcome"]

    def test_an_approval_is_an_interrupt(self):
        outcome = self.outcome(("a", "server", False), ("b", "server", True))
        first, second = outcome["interrupts"]

        assert outcome["type"] == "interrupt"
        assert first == {
            "id": f"{ID}/a",
            "toolCallId": "a",
            "expiresAt": self.EXPIRES,
            "reason": "tool_call",
            "responseSchema": {
                "type": "object",
                "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
                "required": ["approved"],
            },
        }
        assert [*second["responseSchema"]["properties"]] == ["approved", "reason", "editedArgs"]

    def test_calls_of_the_client_are_pending(self):
        """As the protocol has it for the tools of a front end."""
        assert self.outcome(("a", "client", False)) == {"type": "success", "pendingToolCallIds": ["a"]}

    def test_beside_an_approval_they_are_interrupts(self):
        """A run that is interrupted names no pending calls."""
        first, second = self.outcome(("a", "client", False), ("b", "server", False))["interrupts"]

        assert (first["reason"], first["responseSchema"]["required"]) == ("input_required", ["output"])
        assert second["reason"] == "tool_call"

    def test_the_run_after_it_has_the_result_and_a_message_of_its_own(self):
        """The client puts a result after the message of its call, so what the model says then must come after that."""
        asked = self.asked(("a", "server", False))
        stream = stream_of(*asked, result("a", "ok", "Done", 3), Event(STEP, {"number": 2}), Event(TEXT, "Paid."))
        stream.end(endings.payload(endings.completed("stop"), "", None))
        encoder = AGUIEncoder(str(ID), thread_id="t", run_id="r2", continues=True)
        started, told, *inside, finished = read(Cursor(stream, encoder, length([BEGIN, *asked])))

        assert started == {"type": "RUN_STARTED", "threadId": "t", "runId": "r2", "protocolVersion": "1.0"}
        assert told == {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{ID}-a",
            "metadata": {"status": "ok"},
            "toolCallId": "a",
            "content": "Done",
            "role": "tool",
        }
        assert {frame["messageId"] for frame in inside if "messageId" in frame} == {f"{ID}-step-2"}
        assert finished["outcome"] == {"type": "success"}

    def test_the_result_of_a_call_that_was_left_out_is_left_out(self):
        events = [Event(STEP, {"number": 1}), call("a", False), result("a", "error", "Not JSON.")]

        assert frames_of(*events, ending=endings.completed("stop"))[0] == []


class SpanTests(SimpleTestCase):
    def test_reasoning_that_begins_again_goes_on_in_the_same_message(self):
        events = [Event(REASONING, "a"), Event(TEXT, "b"), Event(REASONING, "c"), Event(TEXT, "d")]
        inside, _finished = frames_of(*events, ending=endings.completed("stop"))
        reasoning = f"{ID}-reasoning"

        assert [frame["messageId"] for frame in inside if "delta" in frame] == [reasoning, str(ID)] * 2
        assert [frame["stepName"] for frame in inside if frame["type"] == "STEP_FINISHED"] == [
            *("reasoning", "answer") * 2
        ]
