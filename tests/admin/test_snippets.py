"""Pieces of a text around what was found."""

from django.test import SimpleTestCase

from streaming_chat.admin.snippets import snippets
from streaming_chat.search.tokenizer import terms


class SnippetTests(SimpleTestCase):
    def test_what_was_found_is_marked_and_the_rest_escaped(self):
        assert snippets("<b>Rain</b> & snow", terms("rain")) == ["&lt;b&gt;<mark>Rain</mark>&lt;/b&gt; &amp; snow"]

    def test_a_long_text_is_shown_in_pieces(self):
        text = f"{'before ' * 50}rain {'between ' * 50}rain {'after ' * 50}"
        first, second = snippets(text, terms("rain"))

        assert "<mark>rain</mark>" in first
        assert "<mark>rain</mark>" in second
        assert first.startswith("… ")
        assert first.endswith(" …")
        assert len(first) < 260

    def test_there_are_three_at_most(self):
        assert len(snippets(("rain " + "x " * 300) * 20, terms("rain"))) == 3

    def test_a_text_shows_its_beginning_where_nothing_is_to_be_marked(self):
        assert snippets("Rain " * 5, terms("snow")) == ["Rain " * 5]
