"""How a continuation is joined to the text before it: nothing doubled, nothing lost."""

import random

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.continued_text import Joint
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event, text_of

pytestmark = pytest.mark.once


def joined(so_far: str, new: str, quote: str = "", cuts: int | None = None) -> str:
    """Return the text of a reply whose continuation arrives in pieces. cuts: seed of their sizes; None for one piece."""
    joint = Joint(so_far, quote)
    pieces = [new] if cuts is None else cut(new, random.Random(cuts))
    taken = [event for piece in pieces for event in joint.take([Event(TEXT, piece)])]
    return so_far + text_of([*taken, *joint.flush()])


def cut(text: str, rng: random.Random) -> list[str]:
    pieces = []
    while text:
        size = rng.randint(1, 6)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


class JointTestCase(SimpleTestCase):
    def check(self, cases, *, quote=""):
        """Each is (text so far, what comes, the whole), however what comes is divided."""
        for so_far, new, whole in cases:
            for cuts in (None, *range(8)):
                with self.subTest(so_far=so_far, new=new, cuts=cuts):
                    assert joined(so_far, new, quote, cuts) == whole


class PrefillTests(JointTestCase):
    """The provider continues the turn, which it was sent without the white space at its end."""

    def test_words_go_on(self):
        self.check(
            [
                ("The quick", " brown fox", "The quick brown fox"),
                ("The qui", "ck brown fox", "The quick brown fox"),
                ("One.", "\n\nTwo.", "One.\n\nTwo."),
                ("漢字", "と仮名", "漢字と仮名"),
            ]
        )

    def test_white_space_is_neither_doubled_nor_lost(self):
        self.check(
            [
                ("The quick ", " brown", "The quick brown"),
                ("The quick ", "brown", "The quick brown"),
                ("One.\n\n", "\n\nTwo.", "One.\n\nTwo."),
                ("One.\n\n", "\nTwo.", "One.\n\nTwo."),
                ("One.\n\n", "Two.", "One.\n\nTwo."),
                ("One.\n", "\n\nTwo.", "One.\n\nTwo."),
                ("- a\n", "\n  - b", "- a\n  - b"),
                ("def f():\n    ", "\n    return 1", "def f():\n    return 1"),
                ("One. ", "\n\nTwo.", "One. \n\nTwo."),
            ]
        )

    def test_a_server_may_repeat_the_turn(self):
        text = "Once upon a time there was a fox.\n\n"
        self.check([(text, f"{text.rstrip()} It was quick.", f"{text}It was quick.")])
        self.check([(text.rstrip(), f"{text}It was quick.", f"{text}It was quick.")])

    def test_what_only_looks_repeated_stays(self):
        self.check(
            [
                ("ha ha", " ha ha", "ha ha ha ha"),
                ("| a | b |\n|---|", "---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"),
                ("    }\n}\n", "}\nend", "    }\n}\n}\nend"),
                ("1", "1", "11"),
                ("Tic tac", " tac tic", "Tic tac tac tic"),
            ]
        )


class InstructionTests(JointTestCase):
    """The model was told to repeat the last words; it begins a turn, mostly without white space."""

    def test_the_repeated_words_are_left_out(self):
        quote = "there was a qui"
        text = f"Once upon a time {quote}"
        self.check(
            [
                (text, f"{quote}ck fox.", f"{text}ck fox."),
                (text, f"\n{quote}ck fox.", f"{text}ck fox."),
                (f"{text} ", f"{quote} fox.", f"{text} fox."),
                (f"{text}\n\n", f"{quote}\n\nFox.", f"{text}\n\nFox."),
                (text, f"{text}ck fox.", f"{text}ck fox."),
                (text, "upon a time there was a quick fox.", f"{text}ck fox."),
                (text, "was a quick fox.", f"{text}ck fox."),
                (text, "a qualm.", f"{text} a qualm."),
            ],
            quote=quote,
        )

    def test_a_short_text_is_repeated_whole(self):
        self.check([("Yes", "Yes, of course.", "Yes, of course.")], quote="Yes")

    def test_words_that_are_not_repeated_get_a_space(self):
        self.check(
            [
                ("The quick", "brown fox", "The quick brown fox"),
                ("First,", "second", "First, second"),
                ("It ends.", "Then", "It ends. Then"),
            ],
            quote="something else",
        )

    def test_other_text_gets_none(self):
        self.check(
            [
                ("漢字", "と仮名", "漢字と仮名"),
                ("print(", "x)", "print(x)"),
                ("example.", "com", "example.com"),
                ("The quick", ", brown fox", "The quick, brown fox"),
                ("The quick\n", "brown", "The quick\nbrown"),
                ("The quick", "\nbrown", "The quick\nbrown"),
            ],
            quote="something else",
        )


class EventTests(SimpleTestCase):
    def test_reasoning_is_not_held_back(self):
        joint = Joint("The quick brown fox")

        assert joint.take([Event(TEXT, "The "), Event(REASONING, "Hm.")]) == [Event(REASONING, "Hm.")]
        assert joint.take([Event(TEXT, "lazy")]) == [Event(TEXT, "The lazy")]

    def test_a_tool_call_comes_after_the_text(self):
        call = Event(TOOL_CALL, {"name": "look"})

        assert Joint("The quick").take([Event(TEXT, "The"), call]) == [Event(TEXT, "The"), call]

    def test_what_was_held_back_is_kept_at_the_end(self):
        joint = Joint("The quick brown fox")
        joint.take([Event(TEXT, " quick")])

        assert joint.flush() == [Event(TEXT, " quick")]
        assert joint.flush() == []

    def test_nothing_new_adds_nothing(self):
        for new in ("", " ", "the quick brown fox"):
            with self.subTest(new):
                assert joined("See the quick brown fox ", new) == "See the quick brown fox "

    def test_once_it_is_joined_all_passes(self):
        joint = Joint("The quick")
        joint.take([Event(TEXT, " fox")])
        events = [Event(TEXT, "The quick"), Event(TEXT, " ")]

        assert joint.take(events) == events

    def test_halves_of_a_character_are_joined(self):
        joint = Joint("The quick")

        assert joint.take([Event(TEXT, "\ud83e")]) == []
        assert joint.take([Event(TEXT, "\udd8a")]) == [Event(TEXT, "\U0001f98a")]
