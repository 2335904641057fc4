"""What a provider's prompt cache can use: how the requests of a conversation begin, as a loopback provider records them.

`python -m pytest -s tests/test_prompt_cache.py` prints how long a beginning stays the same.
"""

import json
from itertools import pairwise
from typing import Any

import pytest
from django.test import TestCase, override_settings

from streaming_chat.models import Message

from .factories import make_conversation, make_user
from .native import Api
from .provider_server import ProviderServer, Script
from .servers import site

pytestmark = pytest.mark.slow

WORDS = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr. "


def unmarked(body: dict[str, Any]) -> bytes:
    """Return all that a request sends of the conversation, without marks."""
    blocks = [*body["system"], *(block for message in body["messages"] for block in message["content"])]
    return json.dumps([{**block, "cache_control": None} for block in blocks]).encode().removesuffix(b"]")


class PromptCacheTests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        settings = site(cls.server)
        settings["STREAMING_CHAT_PROVIDERS"]["anthropic"]["OPTIONS"]["max_prompt_chars"] = 100_000
        settings["STREAMING_CHAT_MODEL_OPTIONS"] = {"anthropic:any": {"cache": "5m"}}
        cls.enterClassContext(override_settings(**settings, STREAMING_CHAT_SYSTEM_PROMPT="Be brief."))

    def setUp(self):
        super().setUp()
        self.api = Api(make_user())
        self.server.clear()

    def test_the_second_turn_begins_with_the_bytes_of_the_first(self):
        self.server.script(Script(["It will."]), Script(["At noon."]), Script(["No."]))
        reply = self.api.reply("Will it rain?", model="anthropic:any")
        for question in ("When?", "And in Porto?"):
            self.api.send(question, reply.conversation)
        bodies = [call.body for call in self.server.calls]

        assert len(bodies) == 3
        for earlier, later in pairwise(bodies):
            assert unmarked(later).startswith(unmarked(earlier))
            assert len(unmarked(later)) > len(unmarked(earlier))

    def test_a_long_conversation_begins_alike_for_many_turns(self):
        """200 turns that fill the longest prompt, and 50 more."""
        conversation = make_conversation(model="anthropic:any", system_prompt="Be brief.")
        fill(conversation, turns=200)
        self.server.default = Script([WORDS * 4])
        for number in range(51):
            self.api.send(f"{number}: {WORDS * 4}", conversation)
        bodies = [call.body for call in self.server.calls]
        stable = [unmarked(later).startswith(unmarked(earlier)) for earlier, later in pairwise(bodies)]
        sizes = [sum(len(message["content"][0]["text"]) for message in body["messages"]) for body in bodies]

        # With -s.
        print(f"\n{sum(stable)} of {len(stable)} turns began like the one before.")  # noqa: T201
        print(f"Prompts had {min(sizes):,} to {max(sizes):,} code points.")  # noqa: T201
        assert sum(stable) == 49
        assert max(sizes) <= 100_000


def fill(conversation: Any, turns: int) -> None:
    """Add turns of 250 code points each."""
    messages: list[Message] = []
    for number in range(2 * turns):
        role = ("user", "assistant")[number % 2]
        text = f"{number}: {WORDS * 4}"
        message = Message(
            conversation=conversation,
            parent=messages[-1] if messages else None,
            depth=number,
            role=role,
            text=text,
            parts=[{"kind": "text", "text": text}],
            position=1 + len(text),
            end_reason="stop" if number % 2 else "",
        )
        messages.append(message)
    Message.objects.bulk_create(messages)
    conversation.head, conversation.message_count = messages[-1], len(messages)
    conversation.save()
