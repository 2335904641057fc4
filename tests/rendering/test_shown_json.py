"""JSON as the pages show it. What JavaScript shows is tested in frontend/tests/json-text.test.mjs."""

import json

from django.test import SimpleTestCase

from streaming_chat.rendering.shown_json import is_same_json, shown_json


class ShownJsonTests(SimpleTestCase):
    def test_each_member_has_a_line_and_every_digit_stays(self):
        text = '{"id":12345678901234567890,"price":1.10,"tags":["a, b","{c}"],"none":{},"empty":[ ],"quote":"\\"\\\\"}'
        shown = shown_json(text)

        assert '  "id": 12345678901234567890,\n  "price": 1.10,' in shown
        assert '"tags": [\n    "a, b",\n    "{c}"\n  ]' in shown
        assert '"none": {},' in shown
        assert '"empty": [],' in shown
        assert json.loads(shown) == json.loads(text)

    def test_a_name_that_occurs_twice_is_shown_twice(self):
        assert shown_json('{"amount":5,"amount":500}') == '{\n  "amount": 5,\n  "amount": 500\n}'

    def test_what_is_not_json_stays_as_it_is(self):
        for text in ("", "{", '{"a": ', "<b>", "NaN", '{"a": Infinity}', "\\u00f6"):
            with self.subTest(text):
                assert shown_json(text) == text

    def test_a_number_of_any_length_is_json(self):
        assert shown_json(f"[{'9' * 5000}]") == f"[\n  {'9' * 5000}\n]"

    def test_an_escaped_letter_is_shown_as_a_letter(self):
        """Many servers write arguments in ASCII."""
        text = r'{"to":"F\u00f6rderung \ud83d\ude00 \\u00f6"}'

        assert shown_json(text) == '{\n  "to": "Förderung 😀 \\\\u00f6"\n}'
        assert json.loads(shown_json(text)) == json.loads(text)

    def test_an_escape_that_would_be_unseen_or_end_the_text_stays_one(self):
        for escape in (r"\u202e", r"\u0022", r"\u005c", r"\u000a", r"\u0085", r"\ud83d", r"\udb40\udc41", r"\n"):
            with self.subTest(escape):
                assert shown_json(f'"{escape}"') == f'"{escape}"'

    def test_characters_that_cannot_be_seen_are_escaped(self):
        for character in ("\u202e", "\u200b", "\u3164", "\U000e0041"):
            with self.subTest(repr(character)):
                assert shown_json(f'["{character}"]') == f"[\n  {json.dumps(character)}\n]"
                assert shown_json(f"x{character}") == "x" + json.dumps(character)[1:-1]

    def test_deep_nesting_does_not_make_lines_long(self):
        assert len(shown_json("[" * 500 + "1" + "]" * 500)) < 1_000 * 50


class IsSameJsonTests(SimpleTestCase):
    def test_white_space_makes_no_difference_and_anything_else_does(self):
        assert is_same_json('{"a":1}', '{ "a" : 1 }\r\n')
        assert not is_same_json('{"a":1}', '{"a":1.0}')
        assert not is_same_json('{"a":"x y"}', '{"a":"x  y"}')
