"""Several calls of a provider as one reply: unique ids, and a paragraph for each text."""

from django.test import SimpleTestCase

from streaming_chat.engine.step_texts import StepCleaner
from streaming_chat.protocol.events import STEP, TEXT, TOOL_CALL, Event


def call(call_id, **more):
    return Event(TOOL_CALL, {"id": call_id, "name": "f", "arguments": "{}", "complete": True, **more})


def ids(events):
    return [event.payload["id"] for event in events]


class StepCleanerTests(SimpleTestCase):
    def test_the_first_text_of_a_later_step_is_a_paragraph(self):
        cleaner = StepCleaner([Event(STEP, {"number": 1}), Event(TEXT, "I look.")], 2)

        assert cleaner.take([Event(TEXT, "Do"), Event(TEXT, "ne.")]) == [Event(TEXT, "\n\nDo"), Event(TEXT, "ne.")]

    def test_no_blank_line_begins_a_reply(self):
        for so_far in ([], [Event(TEXT, " ")], [Event(TEXT, "A list:\n")]):
            assert StepCleaner(so_far, 2).take([Event(TEXT, "Done.")]) == [Event(TEXT, "Done.")]

    def test_ids_are_unique_in_the_reply(self):
        cleaner = StepCleaner([call("a"), call("call_2_0")], 2)

        assert ids(cleaner.take([call("a"), call(""), call("b"), call("b")])) == [
            *("call_2_1", "call_2_2", "b", "call_2_3"),
        ]

    def test_what_the_provider_runs_keeps_its_id(self):
        cleaner = StepCleaner([call("a")], 2)

        assert ids(cleaner.take([call("a", runs="provider")])) == ["a"]
