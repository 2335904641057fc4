"""What a request to send asks for."""

from django.test import SimpleTestCase

from streaming_chat.chats.send_request import SendRequest
from streaming_chat.providers.base import Turn


class SendRequestTests(SimpleTestCase):
    def test_nothing_shows_what_was_said(self):
        """Error pages and trackers print the variables of every frame."""
        assert "secret" not in repr(SendRequest(content="secret", earlier=[Turn("user", "secret")]))
