"""What an APIError says of itself."""

from django.test import SimpleTestCase
from django.utils import translation

from streaming_chat.exceptions import APIError


class APIErrorTests(SimpleTestCase):
    def test_its_text_has_the_status_the_code_and_the_message(self):
        assert str(APIError(409, "reply_in_progress")) == (
            "409 reply_in_progress: A reply is still being written in this conversation."
        )

    def test_its_text_has_the_fields(self):
        error = APIError(422, "invalid", fields={"content": "must not be empty.", "model": "is unknown."})

        assert str(error) == "422 invalid: The request is not valid. content: must not be empty. model: is unknown."

    def test_its_text_for_users_is_in_their_language(self):
        error = APIError(404, "not_found")
        with translation.override("de"):
            german = error.text

        assert german != error.text == "This could not be found."
