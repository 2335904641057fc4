"""What providers' words for the end of a reply mean."""

from __future__ import annotations

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.finish_reasons import finish_word, meaning_of

pytestmark = pytest.mark.once

# By our end reason, or by the error code of a failure.
WORDS = {
    "stop": "stop end_turn stop_sequence pause_turn eos eos_token COMPLETE STOP_SEQUENCE FINISHED normal",
    "length": "length max_tokens MAX_TOKENS model_length max_output_tokens model_context_window_exceeded token_limit",
    "tool_calls": "tool_calls function_call tool_use TOOL_CALL tool-calls toolUse",
    "content_filter": (
        "content_filter content-filter refusal SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE MODEL_ARMOR"
        " IMAGE_SAFETY sensitive ERROR_TOXIC guardrail_intervened content_filtered FinishReason.SAFETY"
        " FINISH_REASON_SAFETY"
    ),
    "provider_error": (
        "error ERROR abort ABORTED cancelled USER_CANCEL OTHER MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL"
        " TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE malformed_model_output malformed_tool_use"
    ),
    "provider_unavailable": "network_error insufficient_system_resource",
    "provider_timeout": "timeout TIMEOUT time_limit REASON_TIME_LIMIT",
    "context_too_long": "ERROR_LIMIT",
}


class MeaningTests(SimpleTestCase):
    def test_known_words(self):
        for expected, words in WORDS.items():
            for word in words.split():
                with self.subTest(word):
                    meaning = meaning_of(word)

                    assert (meaning.end_reason or meaning.error_code) == expected

    def test_a_failure_that_may_pass_is_retryable(self):
        assert meaning_of("network_error").retryable
        assert not meaning_of("ERROR_LIMIT").retryable

    def test_an_unknown_word_is_a_stop_and_logged_once(self):
        with self.assertLogs("streaming_chat", "WARNING") as logged:
            meanings = [meaning_of(word) for word in ("word_of_2031", "Word_Of_2031", "word_of_2032")]

        assert [meaning.end_reason for meaning in meanings] == ["stop"] * 3
        assert [record.args for record in logged.records] == [("word_of_2031",), ("word_of_2032",)]


class WordTests(SimpleTestCase):
    def test_a_word_is_kept_as_it_was_written(self):
        assert finish_word("MAX_TOKENS") == "MAX_TOKENS"

    def test_it_is_cut_to_the_size_of_its_column(self):
        assert finish_word("x" * 100) == "x" * 64

    def test_other_shapes(self):
        assert finish_word({"type": "length"}) == "length"
        assert finish_word(4) == "4"

    def test_a_reply_that_is_not_finished_has_none(self):
        """DashScope sends "null" with every chunk, as a string."""
        for value in (None, "", "null", "NULL", False, "not_finished", "FINISH_REASON_UNSPECIFIED", {}):
            with self.subTest(value=value):
                assert finish_word(value) == ""
