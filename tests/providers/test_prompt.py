"""What a provider is given: turns of parts or of a text, for whom, and no repr that shows what people wrote."""

from __future__ import annotations

from uuid import UUID

from django.test import SimpleTestCase, override_settings

from streaming_chat.providers.base import Prompt, RunContext, Turn
from streaming_chat.providers.model_options import ModelOptions
from streaming_chat.providers.prompt import hash_of

REASONING = {"kind": "reasoning", "text": "Hm."}
HELLO = {"kind": "text", "text": "Hello"}
WORLD = {"kind": "text", "text": ", world"}
UNKNOWN = {"kind": "hologram", "size": 3}


class TurnTests(SimpleTestCase):
    def test_a_string_is_one_part_of_text(self):
        assert Turn("user", "Hello").parts == (HELLO,)
        assert Turn("user", "Hello") == Turn("user", [HELLO])
        assert Turn("user", "").parts == ()

    def test_the_text_is_that_of_all_text_parts(self):
        turn = Turn("assistant", [REASONING, HELLO, UNKNOWN, WORLD])

        assert turn.text == "Hello, world"
        assert turn.parts == (REASONING, HELLO, UNKNOWN, WORLD)

    def test_turns_of_different_roles_or_parts_differ(self):
        assert Turn("user", "Hello") != Turn("assistant", "Hello")
        assert Turn("user", [HELLO]) != Turn("user", [HELLO, UNKNOWN])
        assert Turn("user", "Hello") != ("user", "Hello")

    def test_one_turn_follows_another(self):
        assert Turn("user", "a").followed_by(Turn("user", "b")) == Turn("user", "a\n\nb")

    def test_joined_turns_keep_their_parts(self):
        """Between texts is a blank line, for a provider that reads only the text."""
        joined = Turn("user", [HELLO, UNKNOWN]).followed_by(Turn("user", [{"kind": "text", "text": "Well?"}, UNKNOWN]))

        assert joined.parts == (HELLO, UNKNOWN, {"kind": "text", "text": "\n\nWell?"}, UNKNOWN)
        assert joined.text == "Hello\n\nWell?"
        assert Turn("user", "Hello").followed_by(Turn("user", [UNKNOWN])).parts == (HELLO, UNKNOWN)


class PromptTests(SimpleTestCase):
    def test_it_shows_nothing(self):
        prompt = Prompt(
            model="m",
            system="secret",
            turns=(Turn("user", "secret"), Turn("user", [{"kind": "text", "text": "secret"}])),
            options=ModelOptions(headers={"x-key": "secret"}),
            context=RunContext(user_id="secret", metadata={"a": "secret"}),
        )

        for each in (prompt, *prompt.turns, prompt.options, prompt.context):
            assert "secret" not in f"{each!r} {each!s}"

    def test_a_copy_with_other_values(self):
        prompt = Prompt(model="m", system="Be brief.", turns=(Turn("user", "a"),))
        other = prompt.replace(model="n", turns=())

        assert (other.model, other.system, other.turns) == ("n", "Be brief.", ())
        assert (prompt.model, prompt.chars) == ("m", 10)


class HashTests(SimpleTestCase):
    def test_it_depends_on_the_purpose_the_text_and_the_key_of_the_site(self):
        hashes = {hash_of("owner", "u:1"), hash_of("owner", "u:2"), hash_of("conversation", "u:1")}
        with override_settings(SECRET_KEY="another"):
            hashes.add(hash_of("owner", "u:1"))

        assert len(hashes) == 4
        assert hash_of("owner", "u:1") in hashes
        assert {len(each) for each in hashes} == {32}

    def test_one_of_the_conversation(self):
        one, other = (RunContext(conversation_id=UUID(int=number)).conversation_hash for number in (1, 2))

        assert one != other
        assert RunContext().conversation_hash == ""
