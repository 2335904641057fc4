"""Reasoning that a server leaves in the text, between tags."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from streaming_chat.providers.thinking import UNOPENED, ThinkTags

pytestmark = pytest.mark.once

CALL = Event(TOOL_CALL, {"name": "f"})


def split(*reads: str, mode: bool | str = True, is_complete: bool = False) -> tuple[str, str]:
    """Return the reasoning and the text of a reply that arrives like this."""
    tags = ThinkTags(mode)
    events = [event for read in reads for event in _passed(tags, [Event(TEXT, read)])]
    events += tags.flush(is_complete=is_complete)
    return tuple("".join(event.payload for event in events if event.kind == kind) for kind in (REASONING, TEXT))


def cuts(whole: str) -> Iterator[list[str]]:
    """Yield a text in two pieces, cut at each place, and in pieces of each size."""
    for size in range(1, len(whole)):
        yield [whole[:size], whole[size:]]
        yield [whole[start : start + size] for start in range(0, len(whole), size)]


def _passed(tags: ThinkTags, events: list[Event]) -> list[Event]:
    return events if tags.is_over else tags.take(events)


class OpenedTests(SimpleTestCase):
    def test_what_stands_between_the_tags_is_reasoning(self):
        for opening, closing in (
            ("<think>", "</think>"),
            ("<thinking>", "</thinking>"),
            ("<thought>", "</thought>"),
            ("<seed:think>", "</seed:think>"),
            ("[THINK]", "[/THINK]"),
            ("◁think▷", "◁/think▷"),
        ):
            with self.subTest(opening):
                assert split(f"{opening}\nLet me see.\n\nSo.\n{closing}\n\nYes.\n") == ("Let me see.\n\nSo.", "Yes.\n")

    def test_cut_at_any_character(self):
        whole = "\n<think>\nA < B, and a </b>.\n</think>\n\nYes: <b>."

        assert {split(*reads) for reads in cuts(whole)} == {("A < B, and a </b>.", "Yes: <b>.")}

    def test_a_closing_tag_in_code_closes_nothing(self):
        for whole, expected in (
            ("<think>It writes `</think>` here.\n</think>Yes.", ("It writes `</think>` here.", "Yes.")),
            ("<think>A `<b></think>` too.</think>Yes.", ("A `<b></think>` too.", "Yes.")),
            # The model leaves no line between.
            ("<think>It is `foo`</think>`bar`", ("It is `foo`", "`bar`")),
            ("<think>An odd ` here\n</think>```\nbar\n```", ("An odd ` here", "```\nbar\n```")),
            ("<think>An odd ` here</think>\nYes.", ("An odd ` here", "Yes.")),
        ):
            with self.subTest(whole):
                assert {split(*reads) for reads in cuts(whole)} == {expected}

    def test_reasoning_is_passed_on_as_it_comes(self):
        tags = ThinkTags()

        assert tags.take([Event(TEXT, "<think>Let")]) == [Event(REASONING, "Let")]
        assert tags.take([Event(TEXT, " me see")]) == [Event(REASONING, " me see")]

    def test_reasoning_that_never_ends_stays_reasoning(self):
        assert split("<think>", "Let me", " see") == ("Let me see", "")

    def test_no_reasoning_between_the_tags(self):
        assert split("<think>\n\n</think>\n\n", "Yes.") == ("", "Yes.")

    def test_other_events_keep_their_place(self):
        tags = ThinkTags()
        thought = Event(REASONING, "Hm.")

        assert tags.take([thought, Event(TEXT, "<think>So.</think>Yes."), CALL]) == [
            thought, Event(REASONING, "So."), Event(TEXT, "Yes."), CALL,
        ]  # fmt: skip


class ClosedOnlyTests(SimpleTestCase):
    """The chat template has opened the reasoning."""

    def test_what_arrives_before_the_tag_at_once_is_reasoning(self):
        assert split("Let me see.\n</think>\n\nYes.") == ("Let me see.", "Yes.")
        assert split("Let me see.</think>\nYes.") == ("Let me see.", "Yes.")

    def test_the_tag_may_come_first(self):
        """Reasoning was switched off."""
        assert split("\n\n", "</th", "ink>\n\n", "Yes.") == ("", "Yes.")

    def test_text_that_was_shown_stays_text(self):
        assert split("Let me see", ".\n</think>\n\nYes.") == ("", "Let me see.\n</think>\n\nYes.")


class UnopenedTests(SimpleTestCase):
    """The site says that the chat template opens the reasoning."""

    def test_what_stands_before_the_closing_tag_is_reasoning(self):
        for whole in (
            "Let me see `</think>`.\n</think>\n\nYes: `</think>`.",
            "Let me see `</think>`.</think>Yes: `</think>`.",
            "\nLet me see `</think>`.\n</thought>\n\nYes: `</think>`.",
            # A server may send the tag all the same.
            "<think>\nLet me see `</think>`.\n</think>\n\nYes: `</think>`.",
        ):
            with self.subTest(whole):
                found = {split(*reads, mode=UNOPENED, is_complete=True) for reads in cuts(whole)}

                assert found == {("Let me see `</think>`.", "Yes: `</think>`.")}

    def test_it_is_passed_on_as_it_comes(self):
        tags = ThinkTags(UNOPENED)

        assert tags.take([Event(TEXT, "Let")]) == [Event(REASONING, "Let")]
        assert tags.take([Event(TEXT, " me see")]) == [Event(REASONING, " me see")]

    def test_an_answer_without_reasoning_is_not_lost(self):
        """Whether it is one is known at its end, so it is in both places."""
        assert split("It ", "rains.", mode=UNOPENED, is_complete=True) == ("It rains.", "It rains.")

    def test_reasoning_that_was_cut_off_is_no_answer(self):
        assert split("Let me", " see", mode=UNOPENED) == ("Let me see", "")
        assert split("<think>Let me", " see", mode=UNOPENED, is_complete=True) == ("Let me see", "")

    def test_a_server_that_separates_the_reasoning_leaves_only_the_answer(self):
        tags = ThinkTags(UNOPENED)

        assert tags.take([CALL]) == [CALL]
        assert not tags.is_over
        assert tags.take([Event(REASONING, "Hm.")]) == [Event(REASONING, "Hm.")]
        assert tags.is_over


class TextTests(SimpleTestCase):
    def test_a_reply_may_write_about_tags(self):
        for text in (
            "Write <think> first.",
            "`<think>` opens, `</think>` closes.",
            "```\n</think>\n```",
            "It ends with </think> and goes on.",
            "<b>Bold</b>",
            "</thinker>",
        ):
            with self.subTest(text):
                assert split(text) == ("", text)

    def test_a_site_may_have_none_taken(self):
        assert split("<think>Hm.</think>Yes.", mode=False) == ("", "<think>Hm.</think>Yes.")

    def test_text_without_tags_is_not_touched(self):
        tags = ThinkTags()
        events = [Event(TEXT, "a"), Event(TEXT, "b"), CALL]

        assert tags.take(events) == events
        assert tags.is_over

    def test_white_space_at_the_beginning_is_kept(self):
        assert split("\n ", " Yes.") == ("", "\n  Yes.")
        assert split(" ", "\n") == ("", " \n")
        assert split("<th") == ("", "<th")
