"""How a reply ended, in words."""

from django.test import SimpleTestCase

from streaming_chat.models import Message
from streaming_chat.rendering.outcomes import describe_to_staff


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
