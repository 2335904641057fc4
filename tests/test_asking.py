"""`ask` and `aask`: one answer for Python code, kept as a conversation or not."""

import asyncio

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import TransactionTestCase, override_settings
from pydantic import BaseModel, Field

from streaming_chat.exceptions import AnswerError, APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.shortcuts import aask, ask
from streaming_chat.testing import Script, Turn, scripted_provider, wait_until_saved
from tests.factories import make_user
from tests.provider_server import ProviderServer
from tests.provider_server import Script as ServedScript
from tests.servers import site


class AskTests(TransactionTestCase):
    """Without a user: nothing of it is saved."""

    def setUp(self):
        self.provider = self.enterContext(scripted_provider())

    def test_it_returns_the_text(self):
        assert ask("Hi") == "Hello, world"
        assert asyncio.run(aask("Hi")) == "Hello, world"
        assert not Message.objects.exists()

    def test_the_model_is_asked_one_message_with_a_system_prompt(self):
        with override_settings(STREAMING_CHAT_SYSTEM_PROMPT="You help."):
            ask("Hi")
            ask("Hi", system="")
            ask("Hi", system="You rhyme.")
        prompts = [call.prompt for call in self.provider.calls]

        assert [prompt.system for prompt in prompts] == ["You help.", "", "You rhyme."]
        assert prompts[0].turns == (Turn("user", "Hi"),)
        assert (prompts[0].model, prompts[0].context.owner_hash) == ("model", "")

    def test_a_model_that_users_cannot_choose_can_be_asked(self):
        ask("Hi", model="scripted:cheap")

        assert self.provider.calls[0].prompt.model == "cheap"

    def test_a_failure_has_our_code_and_a_reference_in_the_log(self):
        self.provider.script(Script("", error="provider_auth"))
        with self.assertLogs("streaming_chat", "WARNING") as logs, self.assertRaises(AnswerError) as raised:
            ask("secret words")

        assert raised.exception.code == "provider_auth"
        assert str(raised.exception) == "provider_auth: The model provider rejected this site's credentials."
        assert raised.exception.ref in logs.output[0]
        assert "secret" not in logs.output[0]

    def test_what_may_pass_is_tried_again_also_in_the_middle(self):
        self.provider.script(Script("Half", error="provider_error", retryable=True, retry_after=0))

        assert ask("Hi") == "Hello, world"
        assert len(self.provider.calls) == 2

    def test_an_empty_answer_is_an_error(self):
        self.provider.script(Script(" \n"))
        with self.assertLogs("streaming_chat", "WARNING"), self.assertRaises(AnswerError) as raised:
            ask("Hi")

        assert raised.exception.code == "empty"
        assert len(self.provider.calls) == 1

    def test_a_wrong_model_and_an_empty_text_are_refused(self):
        for model in ("none:such", "scripted", "scripted:"):
            with self.subTest(model=model), self.assertRaises(APIError) as raised:
                ask("Hi", model=model)
            assert raised.exception.status == 422
        with self.assertRaises(ValueError):
            ask(" ")
        assert not self.provider.calls


class Weather(BaseModel):
    """What the sky does."""

    rain: bool
    degrees: int = Field(ge=-90)


class AskForObjectTests(TransactionTestCase):
    """With an output, the answer is a validated object."""

    OBJECT = '{"rain": true, "degrees": 12}'

    def setUp(self):
        self.user = make_user()
        self.provider = self.enterContext(scripted_provider())
        self.addCleanup(wait_until_saved)

    def test_the_object_is_returned(self):
        self.provider.default = Script(self.OBJECT)
        for user in (None, self.user):
            with self.subTest(user=user):
                assert ask("Will it rain?", user=user, output=Weather) == Weather(rain=True, degrees=12)

        assert [call.prompt.output.type for call in self.provider.calls] == [Weather, Weather]

    async def test_without_blocking_the_loop(self):
        self.provider.default = Script(self.OBJECT)
        for user in (None, self.user):
            assert await aask("Will it rain?", user=user, output=Weather) == Weather(rain=True, degrees=12)

    def test_another_object_is_an_error(self):
        for script, code in (
            (Script('{"rain": true, "degrees": -91}'), "output_invalid"),
            (Script("It will."), "output_not_json"),
            (Script('{"rain": tr', end_reason="length"), "output_truncated"),
        ):
            for user in (None, self.user):
                self.provider.script(script)
                with self.subTest(code=code, user=user), self.assertRaises(AnswerError) as raised:
                    ask("Will it rain?", user=user, output=Weather)
                assert raised.exception.code == code


class AskAsUserTests(TransactionTestCase):
    """With a user: a conversation like any other."""

    def setUp(self):
        self.user = make_user()
        self.provider = self.enterContext(scripted_provider())
        self.addCleanup(wait_until_saved)

    def test_the_message_and_the_answer_are_kept(self):
        assert ask("Will it rain?", user=self.user) == "Hello, world"

        conversation = Conversation.objects.get()

        assert (conversation.owner, conversation.title) == (self.user, "Will it rain?")
        assert [message.text for message in conversation.messages.all()] == ["Will it rain?", "Hello, world"]

    async def test_without_blocking_the_loop(self):
        assert await aask("Will it rain?", user=self.user) == "Hello, world"
        assert await Message.objects.acount() == 2

    async def test_many_wait_at_once(self):
        """In the loop: there are not as many threads."""
        answers = await asyncio.gather(*(aask("Hi", user=make) for make in await self.users(40)))

        assert answers == ["Hello, world"] * 40

    async def users(self, count):
        return [await sync_to_async(make_user)(f"user{number}") for number in range(count)]

    def test_its_system_prompt_is_kept_too(self):
        ask("Hi", user=self.user, system="You rhyme.")

        assert Conversation.objects.get().system_prompt == "You rhyme."
        assert self.provider.calls[0].prompt.system == "You rhyme."

    def test_a_refused_message_leaves_no_conversation(self):
        for system in (None, "You rhyme."):
            with self.assertRaises(APIError) as raised:
                ask("Hi", user=self.user, model="none:such", system=system)
            assert raised.exception.status == 422
        with self.assertRaises(APIError) as raised:
            ask("Hi", user=AnonymousUser())
        assert raised.exception.status == 401
        assert not Conversation.objects.exists()

    def test_a_reply_that_breaks_is_an_error_and_is_kept(self):
        self.provider.script(Script("Half", error="provider_error"))
        with self.assertLogs("streaming_chat", "WARNING"), self.assertRaises(AnswerError) as raised:
            ask("Hi", user=self.user)

        reply = Message.objects.get(role="assistant")

        assert (reply.status, reply.text) == ("interrupted", "Half")
        assert (raised.exception.code, raised.exception.ref) == ("provider_error", reply.ref)

    def test_it_does_not_wait_for_a_commit_that_waits_for_it(self):
        with transaction.atomic(), self.assertRaisesMessage(ValueError, "nothing to wait for"):
            ask("Hi", user=self.user)


class AskOverHttpTests(TransactionTestCase):
    """Against a provider on loopback."""

    def setUp(self):
        self.provider = self.enterContext(ProviderServer())
        self.enterContext(override_settings(**site(self.provider)))

    def test_both_apis_answer(self):
        for model in ("openai:any", "anthropic:claude-x"):
            assert ask("Hi", model=model) == "Hello, wörld!"

    def test_an_api_without_a_word_for_an_object_is_told_in_the_system_prompt(self):
        self.provider.default = ServedScript(['{"rain": true, ', '"degrees": 12}'])
        options = {"api_key": "test", "base_url": self.provider.openai_url, "output_format": "instruction"}
        backend = "streaming_chat.providers.openai.OpenAIProvider"
        self.enterContext(
            override_settings(STREAMING_CHAT_PROVIDERS={"openai": {"BACKEND": backend, "OPTIONS": options}})
        )

        assert ask("Will it rain?", model="openai:any", output=Weather).degrees == 12
        assert "degrees" in self.provider.calls[0].body["messages"][0]["content"]

    def test_a_stream_that_stalls_is_given_up(self):
        self.provider.default = ServedScript(fault="stall", after=1)
        options = {"api_key": "test", "base_url": self.provider.openai_url, "stall_timeout": 0.2}
        backend = "streaming_chat.providers.openai.OpenAIProvider"
        providers = {"openai": {"BACKEND": backend, "OPTIONS": options}}
        self.enterContext(override_settings(STREAMING_CHAT_PROVIDERS=providers))
        with self.assertLogs("streaming_chat", "WARNING"), self.assertRaises(AnswerError) as raised:
            ask("Hi", model="openai:any")

        assert raised.exception.code == "provider_stall"
        assert len(self.provider.calls) == 3
