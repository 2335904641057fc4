"""How a reply ended, in words."""

from django.test import SimpleTestCase

from streaming_chat.exceptions import ENDING_CODES
from streaming_chat.models import Message
from streaming_chat.protocol.endings import END_REASONS
from streaming_chat.rendering.ending_sentences import (
    describe_to_owner,
    describe_to_staff,
    owner_sentences,
    staff_sentences,
)


class OutcomeTests(SimpleTestCase):
    def assert_words(self, words, *row):
        message = Message(**dict(zip(("status", "end_reason", "error_code"), row, strict=False)))

        assert describe_to_staff(message) == words

    def test_every_ending_has_words(self):
        self.assert_words("The reply is being written.", "streaming")
        self.assert_words("The model finished the reply.", "completed", "stop")
        self.assert_words("The reply was cut off at the model's token limit.", "completed", "length")
        self.assert_words("The reply was stopped because its owner disconnected.", "stopped", "disconnect")

    def test_what_broke_is_said(self):
        self.assert_words(
            "The reply failed before anything arrived. The model is busy. Try again in a moment.",
            *("failed", "", "provider_rate_limited"),
        )
        self.assert_words(
            "The reply was interrupted. What had arrived was kept. The model stopped responding.",
            *("interrupted", "provider_stall", "provider_stall"),
        )

    def test_endings_of_newer_versions_are_carried_along(self):
        self.assert_words("The reply is completed.", "completed", "of a newer version")
        self.assert_words("The reply is paused.", "paused")
        self.assert_words("The reply failed before anything arrived.", "failed", "", "of a newer version")


class SentenceTests(SimpleTestCase):
    """Scripts look a sentence up by the status, and the error's code or else the reason."""

    def rows(self):
        completed = ("stop", "length", "content_filter", "tool_calls", "length_cap")
        yield from (Message(status="completed", end_reason=reason) for reason in completed)
        yield from (Message(status="stopped", end_reason=by) for by in ("user", "staff", "disconnect"))
        yield from (Message(status="failed", error_code=code) for code in ENDING_CODES)
        broken = [reason for reason in END_REASONS if reason in ENDING_CODES]
        yield from (Message(status="interrupted", end_reason=reason, error_code=reason) for reason in broken)

    def test_every_ending_has_the_sentence_of_the_plain_page(self):
        sentences = owner_sentences()
        for row in self.rows():
            with self.subTest(status=row.status, reason=row.end_reason, code=row.error_code):
                assert sentences[f"{row.status}.{row.error_code or row.end_reason}"] == describe_to_owner(row)

    def test_every_ending_has_the_sentence_of_the_transcript(self):
        sentences = staff_sentences()
        for row in self.rows():
            with self.subTest(status=row.status, reason=row.end_reason, code=row.error_code):
                assert sentences[f"{row.status}.{row.error_code or row.end_reason}"] == describe_to_staff(row)

    def test_staff_are_told_the_status_of_an_ending_of_a_newer_version(self):
        for status in ("completed", "stopped", "interrupted", "failed"):
            row = Message(status=status, end_reason="of a newer version")

            assert staff_sentences()[status] == describe_to_staff(row)

    def test_only_an_ordinary_reply_has_none(self):
        silent = [(row.status, row.end_reason) for row in self.rows() if not describe_to_owner(row)]

        assert silent == [("completed", "stop")]

    def test_the_sentences(self):
        sentences = owner_sentences()

        assert sentences["completed.length"] == "This reply was cut off because it reached the maximum length."
        assert sentences["completed.content_filter"] == "The provider's content filter ended the reply."
        assert sentences["failed.empty"] == "The model returned an empty reply."
        assert sentences["failed.reasoning_only"] == "The model used up its reply for reasoning and wrote no text."
        assert sentences["interrupted.lease_expired"] == (
            "The reply was interrupted. The server stopped while the reply was being written."
        )
        assert sentences["failed"] == "No reply was received."
