"""Reasoning that a server leaves in the text, between tags."""

from __future__ import annotations

import pytest
from django.test import SimpleTestCase

from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from streaming_chat.providers.thinking import ThinkTags

pytestmark = pytest.mark.once

CALL = Event(TOOL_CALL, {"name": "f"})


def split(*reads: str) -> tuple[str, str]:
    """Return the reasoning and the text of a reply that arrives like this."""
    tags = ThinkTags()
    events = [event for read in reads for event in _passed(tags, [Event(TEXT, read)])] + tags.flush()
    return tuple("".join(event.payload for event in events if event.kind == kind) for kind in (REASONING, TEXT))


def _passed(tags: ThinkTags, events: list[Event]) -> list[Event]:
    return events if tags.is_over else tags.take(events)


class OpenedTests(SimpleTestCase):
    def test_what_stands_between_the_tags_is_reasoning(self):
        for opening, closing in (
            ("<think>", "</think>"),
            ("<thinking>", "</thinking>"),
            ("<seed:think>", "</seed:think>"),
            ("[THINK]", "[/THINK]"),
            ("◁think▷", "◁/think▷"),
        ):
            with self.subTest(opening):
                assert split(f"{opening}\nLet me see.\n\nSo.\n{closing}\n\nYes.\n") == ("Let me see.\n\nSo.", "Yes.\n")

    def test_cut_at_any_character(self):
        whole = "\n<think>\nA < B, and a </b>.\n</think>\n\nYes: <b>."
        for size in range(1, len(whole)):
            with self.subTest(size):
                reads = [whole[start : start + size] for start in range(0, len(whole), size)]

                assert split(*reads) == ("A < B, and a </b>.", "Yes: <b>.")

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

    def test_text_without_tags_is_not_touched(self):
        tags = ThinkTags()
        events = [Event(TEXT, "a"), Event(TEXT, "b"), CALL]

        assert tags.take(events) == events
        assert tags.is_over

    def test_white_space_at_the_beginning_is_kept(self):
        assert split("\n ", " Yes.") == ("", "\n  Yes.")
        assert split(" ", "\n") == ("", " \n")
        assert split("<th") == ("", "<th")
