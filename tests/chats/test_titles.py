"""Titles that are the beginning of a message."""

from django.test import SimpleTestCase

from streaming_chat.chats.titles import title_of


class TitleTests(SimpleTestCase):
    def test_the_first_60_characters_on_one_line(self):
        assert title_of("  Will\nit \t rain? ") == "Will it rain?"
        assert title_of("x" * 100) == "x" * 59 + "…"
        assert title_of("") == ""
