"""How a reply ends, and what a reply without an answer is called."""

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.endings import Ending, broken, checked, completed, stopped
from streaming_chat.protocol.events import REASONING, START, TEXT, TOOL_CALL, Event, is_blank

pytestmark = pytest.mark.once

BEGIN = Event(START, {})
THOUGHT = Event(REASONING, "Hm.")
BLANKS = (" ", "\n\t\r", "\u3000\u00a0\u2003", "\u200b\u2060\ufeff", "")


class CheckedTests(SimpleTestCase):
    def code(self, *received, reason="stop", **options):
        ending = checked(completed(reason), [BEGIN, *received], **options)
        return ending.error_code or ending.end_reason

    def test_blank_text_is_no_answer(self):
        for blank in BLANKS:
            with self.subTest(blank):
                assert is_blank(blank)
                assert self.code(Event(TEXT, blank)) == "empty"
        assert self.code() == "empty"

    def test_nothing_received_is_empty_unless_a_reason_explains_it(self):
        assert completed("stop", received=False).error_code == "empty"
        assert completed("content_filter", received=False).end_reason == "content_filter"

    def test_what_can_be_seen_is_one(self):
        for text in ("a", ".", "\u0301", " \n.", "\U0001f600"):
            with self.subTest(text):
                assert self.code(Event(TEXT, " "), Event(TEXT, text)) == "stop"
        assert self.code(Event(TOOL_CALL, {"name": "look"}), reason="tool_calls") == "tool_calls"

    def test_reasoning_alone_has_a_code_of_its_own(self):
        for reason in ("stop", "length", "length_cap", "tool_calls"):
            with self.subTest(reason):
                assert self.code(THOUGHT, Event(TEXT, "\n"), reason=reason) == "reasoning_only"
        assert self.code(THOUGHT, Event(TEXT, "Yes."), reason="length") == "length"

    def test_reasoning_may_only_be_counted(self):
        assert self.code(reason="length", reasoning_tokens=4096) == "reasoning_only"
        assert self.code(reason="length", reasoning_tokens=0) == "empty"

    def test_a_filter_may_leave_nothing(self):
        assert self.code(reason="content_filter") == "content_filter"

    def test_other_endings_are_what_they_are(self):
        for ending in (
            stopped("user"),
            broken("shutdown", received=True),
            Ending("failed", error_code="provider_auth"),
        ):
            assert checked(ending, [BEGIN]) == ending
