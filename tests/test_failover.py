"""Which models are asked, and in which order, if a provider cannot be reached: as a loopback provider records it."""

from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.test import TestCase, override_settings

from streaming_chat.engine import outages
from streaming_chat.models import Message, QuotaUse
from streaming_chat.providers import get_provider
from streaming_chat.testing import read_stream

from .factories import make_conversation, make_reply, make_user
from .native import Api
from .provider_server import Gate, ProviderServer, Script
from .servers import site

pytestmark = pytest.mark.slow

# There is no retry for a pause of more than 10 s.
DOWN = Script(status=503, headers={"retry-after": "11"}, body={"error": {"message": "overloaded"}})
# Three calls in a row, and nothing to remember.
AWAY = Script(status=503, headers={"retry-after": "0"}, body={"error": {"message": "overloaded"}})
LIMITED = Script(status=429, headers={"retry-after": "30"}, body={"error": {"message": "Too many requests"}})
REJECTED = Script(status=400, body={"error": {"message": "Unknown parameter"}})

OPTIONS = {
    "openai:chosen": {"fallback": ["anthropic:second", "openai:third"], "effort": "low", "max_output_tokens": 300},
    "anthropic:second": {"max_output_tokens": 500, "cache": "5m", "efforts": ["low"]},
}


class FailoverTestCase(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        cls.enterClassContext(override_settings(**site(cls.server), STREAMING_CHAT_MODEL_OPTIONS=OPTIONS))

        for alias in ("openai", "anthropic"):
            # Importing an SDK takes longer than a test waits for its first event.
            get_provider(alias).prepare()

    def setUp(self):
        super().setUp()
        self.api = Api(make_user())
        self.server.clear()
        outages.forget()
        self.addCleanup(outages.forget)

    @contextmanager
    def changed(self, alias, **options):
        """Give a provider other options."""
        providers = site(self.server)["STREAMING_CHAT_PROVIDERS"]
        providers[alias]["OPTIONS"] |= options
        with override_settings(STREAMING_CHAT_PROVIDERS=providers):
            # Importing its SDK takes longer than a test waits for its first event.
            get_provider(alias).prepare()
            yield

    def reply(self, *scripts, text="Hi", **body):
        """Send while the provider answers so, and return the reply. `self.streamed` is what its reader was told."""
        self.server.clear()
        self.server.script(*scripts)
        self.streamed = self.api.send(text, model="openai:chosen", **body)
        return Message.objects.get(pk=self.streamed.start["message"])

    @property
    def asked(self):
        """The models that were asked, in order."""
        return [call.body["model"] for call in self.server.calls]


class FailoverTests(FailoverTestCase):
    @override_settings(STREAMING_CHAT_OUTPUTS={"recipe": "chatproject.schemas.Recipe"})
    def test_the_fallback_is_told_of_an_object_in_its_own_way(self):
        reply = self.reply(DOWN, Script(["{}"]), output="recipe")
        chosen, second = (call.body for call in self.server.calls)

        assert "response_format" in chosen
        assert "JSON schema" not in str(chosen["messages"])
        assert "JSON schema" in str(second["system"])
        assert reply.output_error == "output_invalid"

    def test_the_fallback_answers_for_a_model_that_is_unavailable(self):
        reply = self.reply(DOWN, Script(["Hello"]))

        assert self.asked == ["chosen", "second"]
        assert (reply.status, reply.text, reply.error_code) == ("completed", "Hello", "")
        assert (reply.model, reply.provider, reply.effort) == ("anthropic:second", "anthropic", "low")

    def test_it_is_asked_with_its_own_options(self):
        self.reply(DOWN, Script())
        first, second = (call.body for call in self.server.calls)

        assert (first["max_completion_tokens"], first["reasoning_effort"]) == (300, "low")
        assert second["max_tokens"] == 500
        assert second["messages"][-1]["content"][0]["cache_control"] == {"type": "ephemeral"}

    def test_the_stream_says_at_its_end_which_model_answered(self):
        self.reply(DOWN, Script())

        assert self.streamed.start["model"] == "openai:chosen"
        assert self.streamed.end["model"] == "anthropic:second"

    def test_the_conversation_keeps_the_model_that_was_chosen(self):
        assert self.reply(DOWN, Script()).conversation.model == "openai:chosen"

    def test_one_that_may_be_back_at_once_is_asked_three_times_first(self):
        self.reply(AWAY, AWAY, AWAY, Script())

        assert self.asked == ["chosen", "chosen", "chosen", "second"]

    def test_a_rate_limit_is_an_outage_too(self):
        reply = self.reply(LIMITED, Script(["Hello"]))

        assert self.asked == ["chosen", "second"], (reply.status, reply.error_code, reply.end_reason)

    def test_so_is_a_model_that_takes_too_long(self):
        with self.changed("openai", first_event_timeout=2.0):
            reply = self.reply(Script(delay_headers=60), Script(["Hello"]))

        assert self.asked == ["chosen", "second"]
        assert (reply.text, reply.model) == ("Hello", "anthropic:second")
        self.server.wait_for(lambda: self.server.calls[0].closed_early)

    def test_so_is_one_that_never_begins(self):
        """Its headers came in time."""
        gate = Gate()
        self.addCleanup(gate.open)
        with self.changed("openai", first_event_timeout=2.0):
            reply = self.reply(Script(gates={0: gate}), Script(["Hello"]))

        assert self.asked == ["chosen", "second"]
        assert reply.text == "Hello"

    def test_each_model_is_asked_in_its_turn(self):
        assert self.reply(DOWN, LIMITED, Script(["Hello"])).model == "openai:third"
        assert self.asked == ["chosen", "second", "third"]

    def test_if_none_answers_the_reply_has_failed_with_the_last_error(self):
        reply = self.reply(DOWN, DOWN, LIMITED)

        assert self.asked == ["chosen", "second", "third"]
        assert (reply.status, reply.error_code, reply.model) == ("failed", "provider_rate_limited", "openai:third")

    def test_a_request_that_is_refused_is_refused(self):
        """Another model might accept it, and nobody would notice the mistake."""
        reply = self.reply(REJECTED)

        assert self.asked == ["chosen"]
        assert (reply.error_code, reply.model) == ("provider_rejected", "openai:chosen")

    def test_nothing_else_is_asked_after_a_delta(self):
        reply = self.reply(Script(["a", "b"], fault="drop", after=1))

        assert self.asked == ["chosen"]
        assert (reply.status, reply.text, reply.model) == ("interrupted", "a", "openai:chosen")


class MemoryTests(FailoverTestCase):
    """What the process remembers of a failure."""

    def test_the_next_reply_goes_to_the_fallback_at_once(self):
        self.reply(DOWN, Script())
        reply = self.reply(Script(["Hello"]), text="And now?")

        assert self.asked == ["second"]
        assert (reply.text, reply.model) == ("Hello", "anthropic:second")

    def test_a_provider_that_says_when_it_is_back_is_asked_then(self):
        self.reply(AWAY, AWAY, AWAY, Script())
        reply = self.reply(Script(["Hello"]))

        assert self.asked == ["chosen"]
        assert reply.model == "openai:chosen"

    def test_a_model_that_is_down_is_asked_last(self):
        self.reply(DOWN, Script())
        self.reply(DOWN, DOWN, Script())

        assert self.asked == ["second", "third", "chosen"]

    def test_if_all_are_down_they_are_asked_in_their_order(self):
        self.reply(DOWN, DOWN, DOWN)
        self.reply(Script())

        assert self.asked == ["chosen"]

    def test_another_model_of_the_provider_is_not_down(self):
        self.reply(DOWN, Script())
        self.server.clear()
        self.server.script(Script())
        self.api.send("Hi", model="openai:other")

        assert self.asked == ["other"]


class FollowingTests(FailoverTestCase):
    """What follows from the model that answered."""

    @override_settings(
        STREAMING_CHAT_PRICES={
            "openai:*": {"input": 1_000, "output": 1_000},
            "anthropic:*": {"input": 10, "output": 100},
        }
    )
    def test_the_cost(self):
        reply = self.reply(DOWN, Script(usage=(7, 4)))

        assert (reply.input_tokens, reply.output_tokens, reply.cost) == (7, 4, Decimal("0.00047"))
        assert reply.conversation.cost == Decimal("0.00047")

    @override_settings(
        STREAMING_CHAT_QUOTA={
            "BACKEND": "streaming_chat.quotas.database.DatabaseQuota",
            "OPTIONS": {"owner_tokens": 400},
        }
    )
    def test_the_quota_reserves_what_the_fallback_may_take(self):
        response = self.api.post("api/messages", {"content": "Hi", "model": "openai:chosen"})

        assert response.status_code == 429
        assert self.server.calls == []

    @override_settings(
        STREAMING_CHAT_QUOTA={
            "BACKEND": "streaming_chat.quotas.database.DatabaseQuota",
            "OPTIONS": {"owner_tokens": 100_000},
        }
    )
    def test_the_quota_counts_what_it_took(self):
        self.reply(DOWN, Script(usage=(7, 4)))

        assert QuotaUse.objects.get().tokens == 11


class PromptTests(FailoverTestCase):
    def test_a_fallback_that_takes_less_gets_less(self):
        conversation = make_conversation(model="openai:chosen")
        for _turn in range(4):
            make_reply(conversation, "x" * 300)
        self.server.script(DOWN, Script())
        with self.changed("anthropic", max_prompt_chars=700):
            self.api.send("And now?", conversation)
        first, second = (call.body["messages"] for call in self.server.calls)

        assert len(first) == 9
        assert len(second) == 5

    def test_a_continuation_is_asked_for_in_the_fallbacks_way(self):
        """Anthropic's older models continue a turn that is half written; OpenAI's get an instruction."""
        conversation = make_conversation(model="openai:chosen")
        half = make_reply(
            conversation, "Once upon a", status="stopped", end_reason="user", model="openai:chosen", provider="openai"
        )
        self.server.script(DOWN, Script([" time."]))
        options = {"openai:chosen": {"fallback": ["anthropic:claude-sonnet-4-5"]}}
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS=options):
            read_stream(self.api.post(f"api/messages/{half.pk}/continue"))
        first, second = (call.body["messages"] for call in self.server.calls)

        assert [turn["role"] for turn in first] == ["user", "assistant", "user"]
        assert [turn["role"] for turn in second] == ["user", "assistant"]
        reply = Message.objects.get(continues=half)
        assert (reply.text, reply.model) == ("Once upon a time.", "anthropic:claude-sonnet-4-5")
