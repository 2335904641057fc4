"""What a reply costs: null where it is not known, and never 0 instead."""

import subprocess
import sys
from decimal import Decimal

import pytest
from django.test import SimpleTestCase, TestCase, override_settings

from streaming_chat import checks
from streaming_chat.models import Conversation, Message
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from streaming_chat.providers import pricing
from streaming_chat.providers.base import Usage
from streaming_chat.providers.pricing import cost_of
from streaming_chat.testing import Script, scripted_provider
from tests.factories import end_live, make_conversation, make_live
from tests.native import ApiTestCase

OPENAI = "streaming_chat.providers.openai.OpenAIProvider"
ANTHROPIC = "streaming_chat.providers.anthropic.AnthropicProvider"
USED = {"input_tokens": 1_000, "cached_input_tokens": 200, "output_tokens": 100}
OWN = {"input": "1.00", "cached_input": "0.10", "output": "10.00"}


def sold_by(backend=OPENAI, **options):
    """Return the settings of one provider, `own`."""
    entry = {"BACKEND": backend, "OPTIONS": {"api_key": "k", **options}}
    return override_settings(STREAMING_CHAT_PROVIDERS={"own": entry})


def priced(**by_model):
    """Return the setting with these prices; `own__model` is own:model."""
    return override_settings(
        STREAMING_CHAT_PRICES={name.replace("__", ":").replace("any", "*"): price for name, price in by_model.items()}
    )


class SettingTests(SimpleTestCase):
    def test_tokens_cost_what_the_setting_says(self):
        with priced(own__model=OWN):
            assert cost_of("own:model", USED) == Decimal("0.00182")

    def test_cached_input_costs_as_much_as_other_where_it_is_left_out(self):
        with priced(own__model={"input": 1, "output": 10.0}):
            assert cost_of("own:model", USED) == Decimal("0.002")

    def test_a_provider_that_does_not_say_what_was_cached_cached_nothing(self):
        with priced(own__model=OWN):
            assert cost_of("own:model", {**USED, "cached_input_tokens": None}) == Decimal("0.002")

    def test_writes_to_the_cache_have_a_price_of_their_own(self):
        used = {**USED, "cache_write_tokens": 400}
        with priced(own__model=OWN):
            assert cost_of("own:model", used) == Decimal("0.00182")
        with priced(own__model={**OWN, "cache_write": "1.25"}):
            assert cost_of("own:model", used) == Decimal("0.00192")

    def test_no_token_of_input_is_charged_twice(self):
        with priced(own__model={**OWN, "cache_write": "2.00"}):
            assert cost_of("own:model", {**USED, "cache_write_tokens": 5_000}) == Decimal("0.00262")

    def test_more_cached_than_asked_is_all_of_it(self):
        with priced(own__model=OWN):
            assert cost_of("own:model", {**USED, "cached_input_tokens": 5_000}) == Decimal("0.0011")

    def test_a_wildcard_is_for_the_models_that_are_not_named(self):
        with priced(own__any=OWN, own__model=None):
            assert cost_of("own:other", USED) == Decimal("0.00182")
            assert cost_of("own:model", USED) is None

    def test_it_comes_before_the_package(self):
        with sold_by(), priced(**{"own__gpt-5-mini": OWN}):
            assert cost_of("own:gpt-5-mini", USED) == Decimal("0.00182")

    def test_what_costs_nothing_costs_0_where_the_setting_says_so(self):
        with priced(own__model={"input": 0, "output": 0}):
            assert cost_of("own:model", USED) == 0

    def test_a_price_that_is_none_is_not_known(self):
        for price in (
            {"input": "x", "output": 1},
            {"input": 1},
            {"input": -1, "output": 1},
            {"input": True, "output": 1},
            5,
        ):
            with self.subTest(price), priced(own__model=price), self.settings(LOGGING_CONFIG=None):
                assert cost_of("own:model", USED) is None

    def test_a_cost_that_the_column_cannot_hold_is_not_known(self):
        with priced(own__model={"input": "99999999", "output": 1}):
            assert cost_of("own:model", {**USED, "input_tokens": 2**31}) is None


class UsageTests(SimpleTestCase):
    def test_without_usage_there_is_no_cost(self):
        with priced(own__model=OWN):
            for missing in ("input_tokens", "output_tokens"):
                with self.subTest(missing):
                    assert cost_of("own:model", {**USED, missing: None}) is None

    def test_estimated_usage_has_no_cost(self):
        """Characters by 4 are a guess, and a sum of money would not look like one."""
        with priced(own__model=OWN):
            assert cost_of("own:model", {**USED, "tokens_estimated": True}) is None

    def test_a_reply_without_a_model_has_none(self):
        with priced(own__model=OWN):
            assert cost_of("", USED) is None


class PackageTests(SimpleTestCase):
    """With the prices that genai-prices brings along; a model whose price has not changed since it was sold."""

    def test_a_provider_at_its_own_address_has_its_own_prices(self):
        with sold_by():
            assert cost_of("own:gpt-4o", USED) == Decimal("0.00325")

    def test_both_apis_of_openai_have_its_prices(self):
        with sold_by("streaming_chat.providers.openai_responses.OpenAIResponsesProvider"):
            assert cost_of("own:gpt-4o", USED) == Decimal("0.00325")

    def test_it_has_the_prices_of_a_cache(self):
        """Of this model at Anthropic: a tenth of the price of input for a read, and 1.25 times of it for a write."""
        used = {**USED, "cache_write_tokens": 400}
        with sold_by(ANTHROPIC):
            assert cost_of("own:claude-opus-4-1", used) == Decimal("0.0213")

    def test_a_write_for_an_hour_costs_twice_as_much_as_other_input(self):
        """The package has the price of one for five minutes."""
        used = {**USED, "cache_write_tokens": 400}
        with sold_by(ANTHROPIC), override_settings(STREAMING_CHAT_MODEL_OPTIONS={"own:*": {"cache": "1h"}}):
            assert cost_of("own:claude-opus-4-1", used) == Decimal("0.0258")

    def test_the_alias_says_nothing(self):
        with override_settings(
            STREAMING_CHAT_PROVIDERS={"openai": {"BACKEND": "streaming_chat.testing.ScriptedProvider"}}
        ):
            assert cost_of("openai:gpt-4o", USED) is None

    def test_an_address_that_it_knows_decides(self):
        with sold_by(base_url="https://api.openai.com/v1"):
            assert cost_of("own:gpt-4o", USED) == Decimal("0.00325")

    def test_a_gateway_has_prices_of_its_own(self):
        with sold_by(base_url="http://localhost:8000/v1"):
            assert cost_of("own:gpt-4o", USED) is None

    def test_a_model_that_it_does_not_have_is_looked_up_once(self):
        pricing._is_known.cache_clear()
        with sold_by():
            for _ in range(3):
                assert cost_of("own:nothing-like-it", USED) is None

        assert pricing._is_known.cache_info().misses == 1

    def test_an_alias_that_is_gone_has_no_price(self):
        assert cost_of("gone:gpt-4o", USED) is None

    @pytest.mark.slow
    def test_without_the_package_the_cost_is_not_known(self):
        """None in sys.modules is how Python says that a module is not there."""
        code = (
            "import sys; sys.modules['genai_prices'] = None\n"
            "import django; django.setup()\n"
            "from streaming_chat.providers.pricing import cost_of\n"
            f"from django.test import override_settings\n"
            f"entry = {{'BACKEND': {OPENAI!r}, 'OPTIONS': {{'api_key': 'k'}}}}\n"
            "with override_settings(STREAMING_CHAT_PROVIDERS={'own': entry}):\n"
            f"    print(cost_of('own:gpt-4o', {USED!r}))\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert (run.stdout.strip(), run.stderr) == ("None", "")

    @pytest.mark.slow
    def test_it_is_imported_only_where_it_may_have_a_price(self):
        """Beside no SDK its import takes a second."""
        code = (
            "import sys, django; django.setup()\n"
            "from streaming_chat.providers.pricing import cost_of\n"
            f"print(cost_of('demo:demo', {USED!r}), 'genai_prices' in sys.modules)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert (run.stdout.strip(), run.stderr) == ("None False", "")


class EndingTests(TestCase):
    def end(self, conversation, **fields):
        live = make_live(conversation, slot=0)
        ending = endings.completed("stop")
        end_live(live, ending, Event("text", "Hello"), model="own:model", **fields)
        return Message.objects.get(pk=live.pk).cost, Conversation.objects.get(pk=conversation.pk).cost

    def test_the_cost_is_saved_with_the_ending_and_added_to_the_conversation(self):
        conversation = make_conversation()
        with priced(own__model=OWN):
            assert self.end(conversation, **USED) == (Decimal("0.00182"), Decimal("0.00182"))
            assert self.end(conversation, **USED) == (Decimal("0.00182"), Decimal("0.00364"))

    def test_a_cost_that_is_not_known_changes_no_sum(self):
        conversation = make_conversation()

        assert self.end(conversation, **USED) == (None, None)
        with priced(own__model=OWN):
            self.end(conversation, **USED)
        assert self.end(conversation, **USED) == (None, Decimal("0.00182"))

    def test_a_later_price_changes_no_cost_that_was_saved(self):
        conversation = make_conversation()
        with priced(own__model=OWN):
            self.end(conversation, **USED)
        with priced(own__model={"input": 50, "output": 50}):
            assert Message.objects.filter(role="assistant").get().cost == Decimal("0.00182")


class RunTests(ApiTestCase):
    def test_a_reply_that_was_streamed_has_its_cost(self):
        with (
            scripted_provider(Script(usage=Usage(1_000, 200, 100))),
            priced(scripted__model=OWN),
        ):
            self.api.send()

        reply = Message.objects.get(role="assistant")
        assert (reply.model, reply.cost) == ("scripted:model", Decimal("0.00182"))
        assert reply.conversation.cost == Decimal("0.00182")

    def test_one_whose_provider_counted_nothing_has_none(self):
        with scripted_provider(Script(usage=None)), priced(scripted__model=OWN):
            self.api.send()

        reply = Message.objects.get(role="assistant")
        assert reply.tokens_estimated
        assert reply.cost is None


class CheckTests(SimpleTestCase):
    def problems(self, value):
        with override_settings(STREAMING_CHAT_PRICES=value):
            found = checks.check_prices()
        assert all(message.id == "streaming_chat.E005" and message.hint for message in found)
        return [message.msg for message in found]

    def test_prices_that_are_some(self):
        assert self.problems({}) == []
        assert (
            self.problems(
                {
                    "own:model": {**OWN, "cache_write": "1.25"},
                    "own:*": None,
                    "own:free": {"input": 0, "output": Decimal(0)},
                }
            )
            == []
        )

    def test_what_is_no_price(self):
        for value in (
            [],
            {"model": OWN},
            {1: OWN},
            {"own:model": "1.00"},
            {"own:model": {"input": "1.00"}},
            {"own:model": {**OWN, "reasoning": "1.00"}},
            {"own:model": {**OWN, "output": "dear"}},
            {"own:model": {**OWN, "output": -1}},
            {"own:model": {**OWN, "cached_input": float("nan")}},
            {"own:model": {**OWN, "input": True}},
        ):
            with self.subTest(value):
                assert len(self.problems(value)) == 1
