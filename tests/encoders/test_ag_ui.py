"""AG-UI: what the golden files do not show of it. tests/browser/test_node_clients.py runs its client."""

import json

from django.test import SimpleTestCase

from streaming_chat.encoders.ag_ui import AGUIEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from tests.engine.streams import ID, stream_of, writes_of


def call(id, complete=True):
    return Event(TOOL_CALL, {"id": id, "name": "f", "arguments": "{}", "complete": complete})


def frames_of(*events, ending):
    """Return what a client is sent between the start and the end of these events, and the end."""
    stream = stream_of(*events)
    stream.end(endings.payload(ending, "", None))
    written = b"".join(writes_of(Cursor(stream, AGUIEncoder(str(ID), thread_id="t")))).decode()
    frames = [json.loads(frame.removeprefix("data: ")) for frame in written.split("\n\n")[:-1]]
    return frames[1:-1], frames[-1]


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


class SpanTests(SimpleTestCase):
    def test_reasoning_that_begins_again_goes_on_in_the_same_message(self):
        events = [Event(REASONING, "a"), Event(TEXT, "b"), Event(REASONING, "c"), Event(TEXT, "d")]
        inside, _finished = frames_of(*events, ending=endings.completed("stop"))
        reasoning = f"{ID}-reasoning"

        assert [frame["messageId"] for frame in inside if "delta" in frame] == [reasoning, str(ID)] * 2
        assert [frame["stepName"] for frame in inside if frame["type"] == "STEP_FINISHED"] == [
            *("reasoning", "answer") * 2
        ]
