"""Finding and replacing passages: what matches, and what becomes of parts and positions."""

import json
import re
import time
from typing import Any

from django.test import SimpleTestCase, override_settings

from streaming_chat.conf import conf
from streaming_chat.models import Message
from streaming_chat.privacy.passages import REDACTED, Passages, find_in, redacted_columns
from streaming_chat.protocol import events

CARD = "4111 1111 1111 1111"


def reply(*parts: dict[str, Any], cut: int | None = None, **fields: Any) -> Message:
    """Return an unsaved reply with these parts."""
    received = list(events.from_parts(parts))
    shown = received if cut is None else events.before(received, cut, 1)
    position = 1 + events.length(received)
    text = events.text_of(shown)
    return Message(role="assistant", parts=list(parts), text=text, position=position, cut_position=cut, **fields)


def text(value: str) -> dict[str, str]:
    return {"kind": "text", "text": value}


def redacted(message: Message, passages: Passages) -> Message:
    """Return the message with its passages redacted."""
    for name, value in redacted_columns(message, find_in([message], passages)[0], passages).items():
        setattr(message, name, value)
    return message


class MatchTests(SimpleTestCase):
    def found(self, passages: Passages, value: str) -> list[str]:
        return [value[start:end] for start, end in passages.spans(value)]

    def test_a_text_matches_in_any_case_and_with_any_white_space(self):
        passages = Passages.with_text("My  secret\nnumber (4)")

        assert self.found(passages, "my secret number (4), MY **secret**  number (4)") == [
            "my secret number (4)",
            "MY **secret**  number (4)",
        ]
        assert self.found(passages, "my number (4)") == []

    def test_a_selection_across_a_list_a_quotation_and_a_table(self):
        assert self.found(Passages.with_text("One Two Three Four Five"), "# One\n- Two\n1. Three\n\n> Four | Five") == [
            "One\n- Two\n1. Three\n\n> Four | Five"
        ]

    def test_what_means_something_in_an_expression_is_text(self):
        assert self.found(Passages.with_text("a.b*"), "aXb a.b* a.bb") == ["a.b*"]

    def test_marks_in_what_is_sought(self):
        assert self.found(Passages.with_text("- **Ana** and - Bo -"), "- Ana and Bo -, *Ana* and Bo") == [
            "Ana and Bo",
            "Ana* and Bo",
        ]
        assert self.found(Passages.with_text("c++"), "c++ c") == ["c++"]
        assert self.found(Passages.with_text("* *"), "a * * b") == ["* *"]

    def test_many_marks_take_no_longer_than_other_text(self):
        began = time.process_time()
        for sought in ("- x", "a - x", "* * x", "- -"):
            Passages.with_text(sought).spans("-" * 200_000 + "a " * 100_000)

        assert time.process_time() - began < 2

    def test_an_earlier_mark_stays_whole(self):
        assert Passages.with_text("redacted").replace(f"{REDACTED} and redacted") == f"{REDACTED} and {REDACTED}"
        assert Passages.with_text("[redacted] and").spans(f"{REDACTED} and") == []

    def test_the_patterns_of_the_app(self):
        texts = {
            "E-mail addresses": ("write to ana.b+c@mail.example.org, ", "ana@localhost, @ana, a@"),
            "Card numbers": ("pay 4111-1111-1111-1111 ", "in 2026, 12345, 123456789012345678901234"),
            "Telephone numbers": ("call +49 (30) 901820 ", "in 2026, x123456789, 12 May"),
        }
        for name, (matching, other) in texts.items():
            with self.subTest(name):
                passages = Passages.with_pattern(name)

                assert len(self.found(passages, matching)) == 1
                assert self.found(passages, other) == []

    def test_the_patterns_of_the_app_take_as_long_as_a_text_is_long(self):
        """A user's text must not keep a thread of the admin busy."""
        for name in conf.STREAMING_CHAT_REDACTION_PATTERNS:
            for unit in ("a", "1", "1 ", "a@", "a.", "+"):
                began = time.process_time()
                Passages.with_pattern(name).spans(unit * 200_000)

                assert time.process_time() - began < 2

    @override_settings(STREAMING_CHAT_REDACTION_PATTERNS={"Customers": r"c-\d+"})
    def test_a_pattern_of_the_site(self):
        assert Passages.with_pattern("Customers").replace("C-17 and c-18") == f"{REDACTED} and {REDACTED}"

    def test_no_error_page_shows_it(self):
        assert "secret" not in repr(Passages.with_text("secret"))


class JSONTests(SimpleTestCase):
    def test_strings_keys_and_numbers(self):
        value = {"a": ["x secret"], "secret": 1, "number": 4111111111111111, "yes": True, "none": None}
        passages = Passages(re.compile(r"secret|\d{16}"))

        assert passages.replace_in(value) == {
            "a": [f"x {REDACTED}"],
            REDACTED: 1,
            "number": REDACTED,
            "yes": True,
            "none": None,
        }

    def test_what_is_escaped_in_arguments(self):
        arguments = json.dumps({"who": "Zoë", "n": 1})
        part = {"kind": "tool_call", "id": "1", "name": "look", "arguments": arguments, "complete": True}
        found = redacted(reply(part), Passages.with_text("zoë")).parts[0]

        assert json.loads(found["arguments"]) == {"who": REDACTED, "n": 1}
        assert (found["kind"], found["name"], found["complete"]) == ("tool_call", "look", True)

    def test_arguments_that_were_cut_off(self):
        part = {"kind": "tool_call", "id": "1", "name": "look", "arguments": '{"who": "Zoe', "complete": False}

        assert redacted(reply(part), Passages.with_text("zoe")).parts[0]["arguments"] == f'{{"who": "{REDACTED}'

    def test_the_words_of_the_app_stay(self):
        part = {"kind": "source", "url": "", "title": "The source", "id": "", "text": "", "origin": "provider"}
        for word in ("source", "provider", "kind", "origin", "title"):
            found = redacted(reply(part), Passages.with_text(word)).parts[0]

            assert (found.keys(), found["kind"], found["origin"]) == (part.keys(), "source", "provider")


class ToolPartsTests(SimpleTestCase):
    """Providers refuse a conversation in which calls and results do not belong together, and names of other characters."""

    def parts(self, passages):
        call = {
            "kind": "tool_call",
            "id": "call_4111",
            "name": "find_ana",
            "arguments": '{"n": 4111}',
            "complete": True,
        }
        return redacted(
            reply(
                {"kind": "step", "number": 4111},
                call,
                {**call, "id": "call_42", "name": "weather"},
                {
                    "kind": "approval",
                    "calls": [{"id": "call_4111", "runs": "server", "editable": False}],
                    "expires": "x",
                },
                {"kind": "tool_result", "id": "call_4111", "status": "ok", "output": "4111 of ana", "ms": 4111},
            ),
            passages,
        ).parts

    def test_ids_stay_the_same_for_a_call_and_its_result(self):
        step, call, other, approval, result = self.parts(Passages.with_text("4111"))

        assert (step["number"], result["ms"], result["status"]) == (4111, 4111, "ok")
        assert "4111" not in call["id"]
        assert re.fullmatch(r"[\w-]{1,40}", call["id"])
        assert call["id"] == result["id"] == approval["calls"][0]["id"] != other["id"] == "call_42"
        assert json.loads(call["arguments"]) == {"n": REDACTED}
        assert result["output"] == f"{REDACTED} of ana"

    def test_a_name_stays_one_that_providers_take(self):
        _step, call, other, _approval, result = self.parts(Passages.with_text("ana"))

        assert re.fullmatch(r"redacted-[0-9a-f]{16}", call["name"])
        assert (call["id"], other["name"]) == ("call_4111", "weather")
        assert result["output"] == f"4111 of {REDACTED}"

    def test_words_of_the_app_stay(self):
        parts = self.parts(Passages.with_text("x"))
        for word in ("ok", "server", "true", "approval", "x"):
            found = self.parts(Passages.with_text(word))

            assert [part["kind"] for part in found] == [part["kind"] for part in parts]
            assert (found[3], found[4]["status"]) == (parts[3], "ok")


class PositionTests(SimpleTestCase):
    """What a reader receives after a position is the rest of the new text."""

    def check(self, message: Message) -> None:
        received = list(message.events(whole=True))
        assert message.position == 1 + events.length(received)
        assert message.text == events.text_of(message.events())

    def test_a_passage_in_the_middle(self):
        message = redacted(reply(text(f"Card {CARD}, thanks.")), Passages.with_text(CARD))

        assert message.parts == [text(f"Card {REDACTED}, thanks.")]
        self.check(message)

    def test_a_passage_that_a_source_interrupts(self):
        source = {"kind": "source", "url": "", "title": "Bank", "id": "", "text": "", "origin": "provider"}
        message = redacted(reply(text("It is 4111 1111"), source, text(" 1111 1111.")), Passages.with_text(CARD))

        assert message.parts == [text(f"It is {REDACTED}"), source, text(".")]
        self.check(message)

    def test_a_part_that_was_all_of_the_passage_goes(self):
        message = redacted(
            reply(text("4111"), {"kind": "reasoning", "text": "Hm"}, text(" 1")), Passages.with_text("4111 1")
        )

        assert message.parts == [text(REDACTED), {"kind": "reasoning", "text": "Hm"}]
        self.check(message)

    def test_the_cut_moves_with_the_text(self):
        whole = f"A {CARD} B {CARD} C"
        first, second = (1 + whole.index(mark) for mark in (" B", " C"))
        for cut, shown in (
            (2, "A"),
            (5, f"A {REDACTED}"),
            (first, f"A {REDACTED}"),
            (first + 2, f"A {REDACTED} B"),
            (second - 1, f"A {REDACTED} B {REDACTED}"),
            (second + 2, f"A {REDACTED} B {REDACTED} C"),
        ):
            with self.subTest(cut):
                message = redacted(reply(text(whole), cut=cut), Passages.with_text(CARD))

                assert message.text == shown
                self.check(message)

    def test_what_was_beyond_the_cut_goes_too(self):
        message = redacted(reply(text(f"Seen. {CARD}"), cut=6), Passages.with_text(CARD))

        assert message.text == "Seen."
        assert message.parts == [text(f"Seen. {REDACTED}")]

    def test_a_message_without_a_passage_is_as_it_was(self):
        message = reply(text("Nothing"))

        assert redacted_columns(message, find_in([message], Passages.with_text("x"))[0], Passages.with_text("x")) == {}

    def test_a_message_of_a_user(self):
        message = Message(
            role="user", text=f"My card is {CARD}", page_context={"greeting": "Hi", "metadata": {"c": CARD}}
        )
        redacted(message, Passages.with_text(CARD))

        assert (message.text, message.parts, message.position) == (f"My card is {REDACTED}", [], 0)
        assert message.page_context == {"greeting": "Hi", "metadata": {"c": REDACTED}}


class SharedTextTests(SimpleTestCase):
    def redact(self, *messages: Message) -> list[str]:
        passages = Passages.with_text(CARD)
        for message, spans in zip(messages, find_in(messages, passages), strict=True):
            for name, value in redacted_columns(message, spans, passages).items():
                setattr(message, name, value)
        return [message.text for message in messages]

    def test_the_beginning_of_a_passage_at_the_end_of_a_reply_that_was_continued(self):
        beginning, whole = (
            reply(text("It is 4111 11")),
            reply(text(f"It is {CARD}."), continued_at=1 + len("It is 4111 11")),
        )

        assert self.redact(beginning, whole) == [f"It is {REDACTED}", f"It is {REDACTED}."]
        assert whole.continued_at == 1 + len(f"It is {REDACTED}")

    def test_a_passage_whose_end_was_not_shown(self):
        """The first reply has it beyond its cut; the second goes on in another way."""
        shown = "It is 4111 1111"
        beginning = reply(text(f"It is {CARD}"), cut=1 + len(shown))

        assert self.redact(beginning, reply(text(f"{shown}, apples"))) == [
            f"It is {REDACTED}",
            f"It is {REDACTED}, apples",
        ]

    def test_three_of_them(self):
        texts = ["It is 4111", "It is 4111 1111 1", f"It is {CARD}, and more"]

        assert self.redact(*(reply(text(each)) for each in texts)) == [
            f"It is {REDACTED}",
            f"It is {REDACTED}",
            f"It is {REDACTED}, and more",
        ]
