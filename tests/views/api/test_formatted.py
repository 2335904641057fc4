"""A message as HTML."""

from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live, make_message, make_reply
from tests.native import ApiTestCase


class FormattedMessageTests(ApiTestCase):
    def get(self, message):
        response = self.api.get(f"api/messages/{message.pk}/html")

        assert response.status_code == 200
        assert response["Content-Type"] == "text/html; charset=utf-8"
        assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert response["Cache-Control"] == "no-store"
        return response.content.decode()

    def test_a_replys_markdown(self):
        html = self.get(make_reply(make_conversation(), "**Hi** <script>alert(1)</script> [x](javascript:alert(1))"))

        assert "<strong>Hi</strong>" in html
        assert "<script" not in html
        assert "href" not in html

    def test_as_far_as_it_is_written(self):
        assert "<em>Hi</em>" in self.get(make_live(make_conversation(), Event("text", "*Hi*")))

    def test_a_users_text_is_not_markdown(self):
        assert self.get(make_message(make_conversation(), "*Hi* <b>")) == '<pre dir="auto">*Hi* &lt;b&gt;</pre>'

    def test_a_long_text_is_plain(self):
        """Formatting it would take too long for one request."""
        assert self.get(make_reply(make_conversation(), "*a* " * 500_000)).startswith('<pre dir="auto">*a*')
