"""Markdown on the server takes linear time, and a page takes only as much as its budget says."""

import pytest
from django.test import SimpleTestCase, TestCase

from streaming_chat.admin.transcripts import Transcript
from streaming_chat.rendering.markdown_html import PAGE_COST, cost, markdown
from streaming_chat.views.plain_turns import turns_of
from tests.factories import make_conversation, make_reply

from .degenerate_markdown import NAMES, degenerate
from .growth import LINEAR, ratio, seconds

# Texts that our own rules once read again from each beginning. By name: what is before, repeated and after.
OURS = {
    "backticks in a row": ("|$", "`", ""),
    "escaped dollars in a row": ("|", "\\$${", ""),
    "letters after two dollars": ("$$ ", "a", "$$"),
    "words after a price": ("$1", " aa", "\\ $"),
    "Korean after a price": ("$1", "한", "\\ $"),
    "full stops in an address": ("https://e.example/", ".", "a"),
    "formulas that end late": ("", "\\( ", "\\)"),
    "formulas in brackets that end late": ("", "a\\[ ", "\\]"),
    "formulas on lines": ("", "\\[\n", ""),
    "formulas on lines that end late": ("", "\\[\n", "\\]"),
}
ORDINARY = "It **will** rain, see `rain()` and [the page](https://e.example/rain).\n\n- one\n- two\n\n" * 100


def text_of(name: str, size: int) -> str:
    if name not in OURS:
        return degenerate(name, size)
    start, unit, end = OURS[name]
    return start + unit * (size // len(unit)) + end


def seconds_to_format(text: str) -> float:
    """Return the least of several rounds."""
    return min(seconds(lambda: markdown(text)) for _round in range(3))


@pytest.mark.once
class MarkdownTests(SimpleTestCase):
    def test_twice_the_text_takes_twice_the_time(self):
        for name in [*OURS, *NAMES]:
            with self.subTest(name):
                assert ratio(lambda size, name=name: markdown(text_of(name, size)), 6_000, 12_000, rounds=3) < LINEAR

    def test_the_cost_is_a_bound_of_the_time(self):
        """In terms of an ordinary text, of which a unit of cost takes the least time."""
        unit = seconds_to_format(ORDINARY) / cost(ORDINARY)
        for name in [*OURS, *NAMES]:
            with self.subTest(name):
                text = text_of(name, 6_000)

                assert seconds_to_format(text) < 15 * unit * cost(text)


class PageTests(TestCase):
    """A reply of 31 parts of 32 KB took 23 s of CPU, at each refresh of the plain page."""

    def test_a_page_pays_for_each_part_before_it_is_formatted(self):
        conversation = make_conversation()
        text = "\\[ *a*\n" * (32_000 // 7)
        reasoning = {"kind": "reasoning", "text": "Hm."}
        reply = make_reply(conversation, parts=[{"kind": "text", "text": text}, reasoning] * 31)
        transcript = Transcript.open(conversation.pk, may_read=True, through=reply.pk)

        (turn,) = turns_of([reply])
        for parts in (turn.parts, transcript.bubbles[-1].shown):
            formatted = [part for part in parts if "<em>a</em>" in part.html]

            assert len(formatted) == PAGE_COST // cost(text)
            assert len([part for part in parts if part.is_unformatted]) == 31 - len(formatted)
