"""What of a provider's error may be logged: words of the API, and nothing that a user may have written."""

from __future__ import annotations

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.error_texts import facts_of, message_of

pytestmark = pytest.mark.once

WORDS = "My aunt's address is 3 High Street."


class FactTests(SimpleTestCase):
    def test_type_code_and_parameter(self):
        for error, facts in (
            # OpenAI, in the body and in the stream of the Responses API; Anthropic, Gemini, vLLM, FastAPI, TGI.
            (
                {"error": {"type": "invalid_request_error", "code": "unsupported_value", "param": "temperature"}},
                "type invalid_request_error, code unsupported_value, param temperature",
            ),
            ({"type": "error", "code": "server_error", "message": WORDS, "param": None}, "code server_error"),
            ({"type": "error", "error": {"type": "overloaded_error", "message": WORDS}}, "type overloaded_error"),
            ([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], "type INVALID_ARGUMENT, code 400"),
            (
                {"object": "error", "type": "BadRequestError", "param": None, "code": 400},
                "type BadRequestError, code 400",
            ),
            (
                {"detail": [{"type": "string_type", "loc": ["body", "messages", 0, "content"], "input": WORDS}]},
                "type string_type, param body.messages.0.content",
            ),
            ({"error": WORDS, "error_type": "validation"}, "type validation"),
            ({"error": {"param": "messages[0].content"}}, "param messages[0].content"),
            ({"status": 400, "message": WORDS}, ""),
        ):
            with self.subTest(error):
                assert facts_of(error) == facts

    def test_no_text_of_a_user(self):
        for error in (
            WORDS,
            {"error": WORDS},
            {"error": {"type": WORDS, "code": WORDS, "param": WORDS}},
            {"error": {"code": "x" * 101}},
            {"error": {"param": [WORDS]}},
            {"error": {"param": "a\nb"}},
            {"detail": WORDS},
            {"type": {"a": WORDS}, "param": [[WORDS]]},
            None,
            [],
            7,
        ):
            with self.subTest(error):
                assert facts_of(error) == ""


class MessageTests(SimpleTestCase):
    def test_it_is_one_line(self):
        assert message_of({"error": {"message": "Not\n  this."}}) == "Not this."
        assert message_of({"type": "error", "error": {"message": "Not this."}, "message": "Not this."}) == "Not this."
        assert message_of("<html>\nBad gateway") == "<html> Bad gateway"

    def test_there_may_be_none(self):
        for error in (None, {}, [], {"error": {"code": 7}}, {"error": None}, {"message": 7}):
            with self.subTest(error):
                assert message_of(error) == ""
