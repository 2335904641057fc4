"""Objects in a model's text: whatever has come of one is a prefix of the complete one."""

import json
import math
import random
import string
from itertools import pairwise
from typing import Any

import pytest
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.protocol.json_objects import GrowingObject, object_in

pytestmark = pytest.mark.once

RECIPE = {
    "title": 'Käse"kuchen" \\ 🥞',
    "minutes": 1205,
    "rating": -4.75e-3,
    "is_vegan": False,
    "source": None,
    "ingredients": [{"name": "flour, type 405", "grams": 250}, {"name": "trüe", "grams": 12}, {}],
    "steps": ["Whisk: 1.5 l\tof milk\n", "Rest.", ""],
    "nested": {"a": [[1, 23], [], [[456]]], "b": {}},
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def is_prefix(part: Any, whole: Any) -> bool:
    """Return whether a value is equal to another one, or a prefix as the module defines it."""
    if type(part) is not type(whole):
        return False
    if isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(whole, list):
        return is_prefix_of_items(part, whole)
    if isinstance(whole, dict):
        names = list(part)
        return names == list(whole)[: len(names)] and is_prefix_of_items(
            list(part.values()), list(whole.values())[: len(names)]
        )
    return part == whole


def is_prefix_of_items(part: list, whole: list) -> bool:
    if not part:
        return True
    *before, last = part
    return len(part) <= len(whole) and before == whole[: len(before)] and is_prefix(last, whole[len(before)])


def grown(*pieces: str) -> GrowingObject:
    growing = GrowingObject()
    for piece in pieces:
        growing.add(piece)
    growing.look()
    return growing


def written(value: Any, rng: random.Random) -> str:
    """Return JSON as models write it: more or less indented and escaped, perhaps in a code fence."""
    text = json.dumps(value, indent=rng.choice([None, 0, 2]), ensure_ascii=rng.random() < 0.5)
    opening, closing = rng.choice([("", ""), ("\n", "\n"), ("```json\n", "\n```"), ("```\n", "```\n")])
    return opening + text + closing


class GrowingObjectTests(SimpleTestCase):
    def test_a_thousand_random_cuts_give_only_prefixes(self):
        rng = random.Random(15)
        parts = set()
        for _number in range(1_000):
            text = written(RECIPE, rng)
            cut = rng.randrange(len(text) + 1)
            part = grown(text[:cut]).value

            assert part is None or is_prefix(part, RECIPE), (text[:cut], part)
            parts.add(json.dumps(part))
        assert len(parts) > 80

    def test_piece_by_piece_it_only_grows_until_it_is_complete(self):
        rng = random.Random(8)
        for _number in range(50):
            text = written(RECIPE, rng)
            growing, seen = GrowingObject(), []
            while text:
                size = rng.randint(1, 9)
                growing.add(text[:size])
                text = text[size:]
                if growing.look():
                    seen.append(growing.value)

            assert all(is_prefix(earlier, later) for earlier, later in pairwise(seen))
            assert seen[-1] == RECIPE

    @given(st.dictionaries(st.text(max_size=8), values, max_size=4), st.data())
    def test_any_object_cut_anywhere_gives_a_prefix(self, whole, data):
        text = json.dumps(whole, ensure_ascii=data.draw(st.booleans()))
        cut = data.draw(st.integers(0, len(text)))
        part = grown(text[:cut]).value

        assert part is None or is_prefix(part, whole)
        assert grown(text[:cut], text[cut:]).value == whole

    def test_the_state_within_a_string_survives_any_cut(self):
        text = json.dumps({"a": 'x\\"12\\\\', "b": "\\", "c": 7})
        for cut in range(len(text)):
            assert grown(text[:cut], text[cut:]).value == json.loads(text)
            assert grown(*text[:cut]).value == grown(text[:cut]).value

    def test_a_number_is_there_only_as_a_whole(self):
        for number in ("1", "12", "-", "1.", "1e", "1e+5", "-0.5", "0"):
            assert grown(f'{{"a": "b", "n": {number}').value == {"a": "b"}, number
        assert grown('{"n": 12,').value == grown('{"n": 12 ').value == {"n": 12}
        # The digits of a string are text.
        assert grown('{"n": "at 12').value == {"n": "at 12"}
        assert grown('{"n": true').value == {"n": True}

    def test_what_is_no_object_leaves_the_last_good_value(self):
        growing = grown('{"a": "x')
        growing.add('", oops')

        assert not growing.look()
        assert growing.value == {"a": "x"}
        for text in ("", " ", "[1, 2", "I cannot", '"{', "`", "```", "```json\n[", '{"a": NaN'):
            assert not grown(text).value, text

    def test_a_key_that_occurs_twice_takes_nothing_back(self):
        assert grown('{"a": "x", "a": "y').value is None
        with pytest.raises(ValueError, match="twice"):
            object_in('{"a": "x", "a": "y"}')

    def test_a_long_one_is_looked_at_in_proportion_to_its_growth(self):
        """Each look reads all of the text: 20,000 tokens would read it 20,000 times."""
        growing, looks = GrowingObject(), 0
        for piece in ['{"a": "', *("x" * 5 for _token in range(20_000)), '"}']:
            growing.add(piece)
            if growing.is_due:
                looks += growing.look()
        short = GrowingObject()

        assert 300 < looks < 700
        for letter in string.ascii_letters:
            short.add(letter)
            assert short.is_due
            short.look()


class ObjectInTests(SimpleTestCase):
    def test_a_code_fence_is_left_out(self):
        for before, after in (
            ("", ""),
            (" ", "\n"),
            ("```json\n", "\n```"),
            ("```\n", "```\n"),
            ("\n```JSON\r\n", "\r\n```"),
        ):
            assert object_in(f'{before}{{"a": 1}}{after}') == {"a": 1}
        assert object_in('{"a": "```"}') == {"a": "```"}

    def test_anything_else_is_refused(self):
        deep = '{"a":' + "[" * 100_000
        others = ("", "{", "[1]", "1", "null", 'Here: {"a": 1}', '{"a": 1} {}', '{"a": NaN}', '{"a": 1e999}', deep)
        for text in (*others, '{"a": Infinity}', '{"a": 1,}', "```json\n{}", '{"a": ' + "9" * 5_000 + "}"):
            with self.subTest(text[:20]), self.assertRaises(ValueError):
                object_in(text)

    @given(st.dictionaries(st.text(), values))
    def test_an_object_is_itself(self, whole):
        assert object_in(json.dumps(whole)) == whole
        assert all(not isinstance(value, float) or math.isfinite(value) for value in whole.values())
