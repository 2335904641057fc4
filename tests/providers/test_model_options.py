"""The options of a model: which apply, what is wrong with some, and what they do to a request."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings
from django.utils.translation import gettext_lazy

from streaming_chat import checks
from streaming_chat.providers.model_options import ModelOptions, options_of, problem_with
from tests.native import ApiTestCase


def options(**table):
    """Return the settings with these options, by model with an underscore in place of the colon."""
    return override_settings(
        STREAMING_CHAT_MODEL_OPTIONS={key.replace("_", ":"): value for key, value in table.items()}
    )


class ResolutionTests(SimpleTestCase):
    def test_without_any_there_are_defaults_and_the_limit_of_the_provider(self):
        found = options_of("own:model", 500)

        assert (found.max_output_tokens, found.effort, found.parameters, found.label) == (500, None, {}, "")

    def test_a_model_has_its_own_or_those_of_all_others(self):
        table = {"own:model": {"label": "One"}, "own:*": {"label": "Any", "max_output_tokens": 9}}
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS=table):
            assert (options_of("own:model", 500).label, options_of("own:model", 500).max_output_tokens) == ("One", 500)
            assert (options_of("own:x:y", 500).label, options_of("own:x:y", 500).max_output_tokens) == ("Any", 9)
            assert options_of("other:model", 500).label == ""

    def test_a_change_applies_at_once(self):
        with options(own_model={"label": "One"}):
            assert options_of("own:model", 1).label == "One"
        with options(own_model={"label": "Two"}):
            assert options_of("own:model", 1).label == "Two"
        assert options_of("own:model", 1).label == ""

    def test_they_are_made_once(self):
        with options(own_model={"label": "One"}):
            assert options_of("own:model", 1) is options_of("own:model", 1)
            assert options_of("own:model", 2).max_output_tokens == 2

    def test_wrong_ones_are_not_ignored(self):
        """A reply with other parameters than the site means would be no better than none."""
        with options(own_model={"temprature": 1}), self.assertRaisesMessage(ImproperlyConfigured, "'temprature'"):
            options_of("own:model", 1)


class ParametersTests(SimpleTestCase):
    def test_they_are_merged_last(self):
        found = ModelOptions(parameters={"a": 1, "b": {"y": 2}, "c": {"z": 3}, "d": 4})
        body = {"a": 0, "b": {"x": 1, "y": 1}, "c": None}

        assert found.apply_parameters(body) == {"a": 1, "b": {"x": 1, "y": 2}, "c": {"z": 3}, "d": 4}
        assert found.parameters["b"] == {"y": 2}


class ProblemTests(SimpleTestCase):
    def test_what_is_right(self):
        for entry in (
            {},
            {"label": gettext_lazy("Fast"), "description": "For everyday questions."},
            {"effort": "max", "efforts": ["low", "high"], "show_reasoning": True},
            {"effort": None, "cache": None, "fallback": [], "think_tags": False},
            {"cache": "1h", "fallback": ["own:a:b"], "max_output_tokens": 1},
            {"parameters": {"temperature": 0.2, "top_k": None, "thinking": {"type": "disabled"}}},
            {"headers": {"anthropic-beta": "a, b"}},
        ):
            with self.subTest(entry):
                assert problem_with(entry) == ""

    def test_what_is_wrong(self):
        for entry, words in (
            ("low", "dict"),
            ({"temperature": 1}, "'temperature'"),
            ({"label": None}, "label"),
            ({"effort": "lots"}, "effort must be None or one of none, minimal"),
            ({"effort": ["low"]}, "effort"),
            ({"efforts": "low"}, "efforts"),
            ({"efforts": ["low", "low"]}, "efforts"),
            ({"show_reasoning": 1}, "show_reasoning must be True or False"),
            ({"max_output_tokens": 0}, "max_output_tokens must be a whole number"),
            ({"cache": "2h"}, "cache"),
            ({"cache": ["5m"]}, "cache"),
            ({"fallback": ["own"]}, "fallback"),
            ({"fallback": ["own:*"]}, "fallback"),
            ({"parameters": {1: 2}}, "parameters"),
            ({"parameters": {"x": object()}}, "JSON"),
            ({"parameters": {"x": float("nan")}}, "JSON"),
            ({"headers": {"x": 1}}, "headers"),
            ({"headers": {"x y": "1"}}, "headers"),
            ({"headers": {"x": "1\r\ny: 2"}}, "headers"),
            ({"headers": {"Accept-Encoding": "gzip"}}, "Accept-Encoding"),
        ):
            with self.subTest(entry):
                assert words in problem_with(entry)

    def test_the_parameters_that_a_provider_sends_itself(self):
        for name in (
            *("model", "messages", "input", "stream", "stream_options", "system", "instructions", "tools"),
            *("max_tokens", "max_completion_tokens", "max_output_tokens", "store", "include"),
        ):
            with self.subTest(name):
                assert f"must not have {name}," in problem_with({"parameters": {"top_p": 1, name: 1}})

    def test_no_value_of_a_header_is_shown(self):
        assert "secret" not in problem_with({"headers": {"x": "secret\n"}})


class CheckTests(SimpleTestCase):
    def found(self, table):
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS=table):
            return [(message.id, message.msg) for message in checks.check_model_options()]

    def test_no_options_and_right_ones(self):
        assert self.found({}) == []
        assert self.found({"demo:demo": {"fallback": ["demo:other"]}, "demo:*": {}}) == []

    def test_wrong_ones(self):
        for table, words in (
            ([], "is not a dict"),
            ({"demo": {}}, "['demo'] cannot be used: its key is not alias:model"),
            ({"demo:": {}}, "its key"),
            ({None: {}}, "its key"),
            ({"demo:demo": {"effort": 3}}, "['demo:demo'] cannot be used: effort"),
            ({"demo:demo": {"fallback": ["gone:model"]}}, "no provider for the fallback 'gone:model'"),
        ):
            with self.subTest(table):
                [(check, message)] = self.found(table)

                assert check == "streaming_chat.E009"
                assert words in message


class SendTests(ApiTestCase):
    def test_a_send_has_the_options_of_its_model(self):
        with options(scripted_model={"max_output_tokens": 7, "effort": "low"}):
            self.api.send()
        self.api.send()

        assert [call.prompt.options.max_output_tokens for call in self.provider.calls] == [7, 16_384]
        assert self.provider.calls[0].prompt.options.effort == "low"

    def test_for_whom_it_is(self):
        reply = self.api.reply()
        again = self.api.reply()
        contexts = [call.prompt.context for call in self.provider.calls]

        assert contexts[0].user_id == self.user.pk
        assert (contexts[0].conversation_id, contexts[0].message_id) == (reply.conversation_id, reply.pk)
        assert contexts[1].message_id == again.pk
        assert contexts[0].owner_hash == contexts[1].owner_hash
        assert str(self.user.pk) != contexts[0].owner_hash
        assert contexts[0].conversation_hash != contexts[1].conversation_hash
        assert contexts[0].metadata == {}

    def test_the_quota_reserves_what_the_model_may_write(self):
        quota = {"BACKEND": "streaming_chat.quotas.database.DatabaseQuota", "OPTIONS": {"owner_tokens": 100}}
        with override_settings(STREAMING_CHAT_QUOTA=quota):
            with options(scripted_model={"max_output_tokens": 101}):
                refused = self.api.post("api/messages", {"content": "Hi"})
            with options(scripted_model={"max_output_tokens": 90}):
                self.api.send()

        assert refused.status_code == 429
