"""Words and terms: what of a text is compared."""

import re

from django.test import SimpleTestCase

from streaming_chat.models.search import from_vector, vector
from streaming_chat.search.tokenizer import MAX_WORD_CHARS, Term, find_matches, terms, words
from tests.search.factories import HOSTILE


class WordTests(SimpleTestCase):
    def test_case_accents_and_width_make_no_difference(self):
        for one, other in (
            ("Café", "CAFE"), ("Straße", "strasse"), ("ＡＢＣ", "abc"), ("أغير", "اغير"), ("ﬁn", "fin"), ("ｶﾞ", "ガ"),
        ):  # fmt: skip
            assert words(one) == words(other), one

    def test_voiced_kana_are_letters_of_their_own(self):
        assert words("かぎ") != words("かき")

    def test_marks_of_a_script_hold_its_words_together(self):
        assert len(words("हिन्दी भाषा")) == 2

    def test_what_is_no_letter_divides(self):
        assert words("don't foo_bar ana@example.com 3.14") == [
            "don", "t", "foo", "bar", "ana", "example", "com", "3", "14",
        ]  # fmt: skip

    def test_scripts_without_spaces_are_pairs(self):
        assert words("取消订单。OK") == ["取消", "消订", "订单", "单", "ok"]

    def test_ascii_is_as_any_text(self):
        """It has a way of its own, five times as fast."""
        text = "It's a plain_text: 4 words-or-more, mañana."

        assert words(text.replace("ñ", "n")) == words(text)

    def test_what_an_index_cannot_take_is_left_out(self):
        assert words("a" * 100) == ["a" * MAX_WORD_CHARS]
        assert 100_000 <= len(words("ab " * 400_000)) < 130_000

    def test_a_tsvector_reads_back(self):
        text = words("to be or not to be")

        assert from_vector(vector(text)) == text


class TermTests(SimpleTestCase):
    def test_words_phrases_and_beginnings(self):
        assert terms('Rain "in Lisbon" fore* “of the”') == [
            Term(("rain",)), Term(("in", "lisbon")), Term(("fore",), is_prefix=True), Term(("of", "the")),
        ]  # fmt: skip

    def test_a_piece_of_several_words_is_a_phrase(self):
        assert terms("ana@example.com") == [Term(("ana", "example", "com"))]

    def test_one_character_of_a_script_without_spaces_is_a_beginning(self):
        assert terms("r*") == [Term(("r",))]
        assert terms("取") == [Term(("取",), is_prefix=True)]
        assert terms("取消订") == [Term(("取消", "消订"))]

    def test_any_text_is_taken(self):
        for sought in HOSTILE:
            for term in terms(sought):
                assert all(re.fullmatch(r"\w+", word) for word in term.words), (sought, term)

    def test_there_are_so_many_at_most(self):
        assert len(terms(" ".join(f"word{n}" for n in range(500)))) == 20

    def test_places_are_those_of_the_text(self):
        text = "Ich möchte MOCHTE, 我想取消订单 now"

        assert [text[start:end] for start, end in find_matches(text, terms("mochte 取消 单 no*"))] == [
            "möchte", "MOCHTE", "取消", "单", "now",
        ]  # fmt: skip
        assert find_matches("in Oslo, not in Lisbon", terms('"in lisbon"')) == [(13, 22)]
