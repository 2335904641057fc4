"""Replies with tools in later prompts: as pairs, which nothing separates."""

import os
import subprocess
import sys

import pytest
from django.test import SimpleTestCase

from streaming_chat.chats.prompts import fit
from streaming_chat.providers.tool_turns import turns_of_reply
from streaming_chat.providers.turns import in_pairs

PARTS = [
    {"kind": "step", "number": 1},
    {"kind": "reasoning", "text": "Hm."},
    {"kind": "text", "text": "I look."},
    {"kind": "tool_call", "id": "a", "name": "f", "arguments": "{}", "complete": True},
    {"kind": "tool_call", "id": "b", "name": "f", "arguments": "{}", "complete": True},
    {"kind": "tool_result", "id": "b", "status": "ok", "output": "second", "ms": 1},
    {"kind": "tool_result", "id": "a", "status": "denied", "output": "first", "ms": 0},
    {"kind": "step", "number": 2},
    {"kind": "text", "text": "\n\nDone."},
]


class TurnsTests(SimpleTestCase):
    def test_a_reply_is_several_turns(self):
        turns = [*turns_of_reply(PARTS)]

        assert [turn.role for turn in turns] == ["assistant", "user", "assistant"]
        assert [turn.text for turn in turns] == ["I look.", "firstsecond", "Done."]
        assert [part["id"] for part in turns[0].calls] == ["a", "b"]
        assert [part["status"] for part in turns[1].results] == ["denied", "ok"]

    def test_nothing_of_them_is_lost_among_pairs(self):
        turns = [*turns_of_reply(PARTS)]

        assert [turn.parts for turn in in_pairs(turns)] == [turn.parts for turn in turns]

    def test_a_prompt_never_begins_between_a_call_and_its_result(self):
        """However little fits, the newest turn stays, and no result is left without its call."""
        turns = [*turns_of_reply([*PARTS[:-2], *PARTS])]
        for chars in range(sum(turn.chars for turn in turns) + 1):
            kept, omitted = fit(turns, chars)
            called = {part["id"] for turn in kept for part in turn.calls}
            found = {part["id"] for turn in kept for part in turn.results}

            assert kept
            assert called == found, (chars, called, found)
            assert len(kept) + omitted == len(turns)


@pytest.mark.slow
class ImportTests(SimpleTestCase):
    def test_nothing_that_runs_tools_is_imported_before_a_reply_has_some(self):
        code = """
import sys, django
django.setup()
import streaming_chat.urls
from streaming_chat.engine import runner
unused = {"streaming_chat.engine.tool_loop", "streaming_chat.engine.tool_runs", "pydantic", "mcp"}
sys.exit(", ".join(unused & sys.modules.keys()) or 0)
"""
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
