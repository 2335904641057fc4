"""The bytes of owners' files. What is in the files is in tests/views/api/test_exports.py."""

import json

from django.test import SimpleTestCase

from streaming_chat.exports.owner_files import encoded
from streaming_chat.exports.rows import to_json


class EncodedTests(SimpleTestCase):
    def test_half_a_character_of_the_sites_own_is_an_escape(self):
        """SQLite stores one in metadata."""
        (data,) = encoded([to_json({"page": "\ud800"})])

        assert json.loads(data) == {"page": "\ud800"}

    def test_other_characters_are_in_utf_8(self):
        assert list(encoded(["雨", "🌧"])) == ["雨".encode(), "🌧".encode()]
