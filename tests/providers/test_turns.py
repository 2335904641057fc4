"""Turns as all APIs want them: a client's tool calls and their results go along if both are there."""

from django.test import SimpleTestCase

from streaming_chat.providers.base import Turn
from streaming_chat.providers.turns import in_pairs

ASKED = Turn("user", "Weather in Rome and Oslo?")


def call(id):
    return {"kind": "tool_call", "id": id, "name": "weather", "arguments": "{}", "complete": True}


def result(id, text):
    return {"kind": "tool_result", "id": id, "text": text}


def text(text):
    return {"kind": "text", "text": text}


def assistant(*parts):
    return Turn("assistant", parts)


def user(*parts):
    return Turn("user", parts)


class InPairsTests(SimpleTestCase):
    def test_texts_stay(self):
        turns = [ASKED, Turn("assistant", "Ho"), Turn("user", "\nHi")]

        assert in_pairs(turns) == turns

    def test_pairs_stay(self):
        turns = [ASKED, assistant(text("I look."), call("1"), call("2")), user(result("2", ""), result("1", "Sunny"))]

        assert in_pairs(turns) == turns

    def test_the_same_id_in_two_replies(self):
        """Some servers number the calls of each reply from 0, and Anthropic refuses an id that occurs twice."""
        first = [ASKED, assistant(call("1"), call("2")), user(result("1", "a"), result("2", "b"))]
        turns = [*first, assistant(call("1"), call("3")), user(result("3", "c"), result("1", "d"))]
        last = [*first, assistant(call("1_2"), call("3")), user(result("3", "c"), result("1_2", "d"))]

        assert in_pairs(turns) == last
        assert in_pairs([*turns, *turns])[-1] == user(result("3_2", "c"), result("1_4", "d"))

    def test_a_call_without_a_result_is_left_out(self):
        turns = [ASKED, assistant(call("1"), call("2")), user(result("1", "Sunny"))]

        assert in_pairs(turns) == [ASKED, assistant(call("1")), turns[-1]]

    def test_a_turn_with_nothing_else_is_left_out(self):
        """The two turns of the user beside it become one."""
        reasoned = [{"kind": "reasoning", "text": "Hm."}, text("\n"), call("1")]

        for turns in (
            [assistant(call("1"))],
            [assistant(*reasoned)],
            [assistant(call("1")), user(), assistant(call("2"))],
        ):
            with self.subTest(turns=len(turns)):
                [turn] = in_pairs([ASKED, *turns, Turn("user", "Well?")])

                assert (turn.role, turn.text) == ("user", f"{ASKED.text}\n\nWell?")

    def test_a_result_without_its_call_is_the_users_text(self):
        for before in (
            [],
            [Turn("user", "Hi"), Turn("assistant", "Ho")],
            [ASKED, assistant(text("I look."), call("2"))],
        ):
            turn = in_pairs([*before, user(result("1", "Sunny"), text("\n\nThanks"))])[-1]

            assert (turn.role, turn.text, turn.results) == ("user", "Sunny\n\nThanks", ())

    def test_a_prompt_never_loses_its_last_turn(self):
        """Nothing but an empty result may be left, when a history is too long."""
        assert in_pairs([user(result("1", ""))]) == [Turn("user", "The tool returned nothing.")]

    def test_a_call_of_a_server_is_left_out(self):
        """Its result is not stored."""
        assert in_pairs([ASKED, assistant({"kind": "tool_call", "name": "search"}, text("Rain.")), ASKED]) == [
            ASKED,
            assistant(text("Rain.")),
            ASKED,
        ]


class TurnTests(SimpleTestCase):
    def test_what_a_turn_has(self):
        turn = user(result("1", "Sunny")).followed_by(Turn("user", "Thanks"))

        assert (turn.text, turn.text_beside_results) == ("Sunny\n\nThanks", "Thanks")
        assert (turn.results, turn.calls) == ((result("1", "Sunny"),), ())
        assert turn.chars == 13
        assert assistant(text("Hm"), call("1")).chars == 4
        assert (ASKED.text_beside_results, ASKED.results, ASKED.chars) == (ASKED.text, (), 25)
