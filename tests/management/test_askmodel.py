"""`manage.py askmodel`: what it prints of each model, what it never prints, and when it fails."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, override_settings

from tests.provider_server import Gate, ProviderServer, Script

KEY = "sk-very-secret"
WORDS = "invented by the server"
_PROVIDERS = "streaming_chat.providers"


@pytest.mark.slow
class AskModelTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())
        urls = {
            "openai": ("openai.OpenAIProvider", cls.server.openai_url),
            "responses": ("openai_responses.OpenAIResponsesProvider", cls.server.openai_url),
            "anthropic": ("anthropic.AnthropicProvider", cls.server.anthropic_url),
        }
        providers = {
            alias: {"BACKEND": f"{_PROVIDERS}.{name}", "OPTIONS": {"api_key": KEY, "base_url": url}}
            for alias, (name, url) in urls.items()
        }
        models = ["openai:gpt-x", "responses:gpt-y", "anthropic:claude-opus-5-5", "openai:*"]
        settings = {"STREAMING_CHAT_PROVIDERS": providers, "STREAMING_CHAT_MODELS": models}
        cls.enterClassContext(override_settings(**settings))

    def setUp(self):
        self.server.clear()
        self.out, self.err = StringIO(), StringIO()

    def ask(self, *models: str, **options: Any) -> str:
        """Return what it prints."""
        call_command("askmodel", *models, stdout=self.out, stderr=self.err, **options)
        return self.out.getvalue()

    def fail(self, *models: str, **options: Any) -> str:
        """Return what it prints of models of which one fails."""
        with self.assertRaises(CommandError) as raised:
            self.ask(*models, **options)

        assert raised.exception.returncode == 1
        return f"{self.out.getvalue()}{raised.exception}"

    def test_each_model_is_asked(self):
        self.server.default = Script(["Hel", "lo"])
        printed = self.ask()
        asked = [call.body["model"] for call in self.server.calls]

        assert asked == ["gpt-x", "gpt-y", "claude-opus-5-5"]
        assert printed.count("answer     Hello\n") == 3
        assert len(re.findall(r"time       first token \d+\.\d\d s, total \d+\.\d\d s\n", printed)) == 3
        assert 'sent       {"model": "gpt-x", "stream": true, "max_completion_tokens": 16384' in printed
        assert "openai:* is not asked" in self.err.getvalue()

    def test_what_was_sent_is_printed_without_secrets(self):
        # However long it is.
        options = {
            "effort": "low",
            "headers": {"X-Team": KEY},
            "parameters": {"temperature": 0.2, "proxy": {"api_key": KEY, "region": "eu"}, "stop": ["x" * 300]},
        }
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS={"openai:gpt-x": options}):
            printed = self.ask("openai:gpt-x")

        assert (
            '"reasoning_effort": "low", "temperature": 0.2, "proxy": {"api_key": "…", "region": "eu"}, "stop": ["xxx'
            in printed
        )
        assert f'{"x" * 300}"]}}\n' in printed
        assert 'headers    ["X-Team"]' in printed
        assert KEY not in printed

    def test_a_rejected_request_says_why(self):
        error = {"type": "invalid_request_error", "code": "unsupported_value", "param": "temperature", "message": WORDS}
        headers = {"x-request-id": "req_1"}
        self.server.script(Script(status=400, body={"error": error}, headers=headers), Script(["Yes"]))
        printed = self.fail("openai:gpt-x", "responses:gpt-y")

        assert (
            "openai:gpt-x\n  FAILED     provider_rejected, status 400, type invalid_request_error, "
            f"code unsupported_value, param temperature, request req_1, {WORDS}\n"
            "  time       first token none, total 0." in printed
        )
        assert '"model": "gpt-x"' in printed
        assert "answer     Yes" in printed
        assert printed.endswith("1 of 2 models failed.")

    def test_a_refused_key_is_not_repeated(self):
        body = {"error": {"code": "invalid_api_key", "message": f"Incorrect API key provided: {KEY}"}}
        self.server.script(Script(status=401, body=body))
        printed = self.fail("openai:gpt-x")

        assert "FAILED     provider_auth, status 401, code invalid_api_key" in printed
        assert KEY not in printed

    def test_an_answer_without_text_is_none(self):
        self.server.script(Script([], reasoning=["Hm."]))

        assert "FAILED     reasoning_only\n  reasoning  3 characters" in self.fail("openai:gpt-x")

    def test_one_that_does_not_end(self):
        gate = Gate()
        self.server.script(Script(["Hel", "lo"], gates={1: gate}))
        printed = self.fail("openai:gpt-x", timeout=0.5)
        gate.open()

        assert "FAILED     no complete answer within 0.5 s\n  answer     Hel" in printed

    def test_a_model_that_is_not_configured(self):
        printed = self.fail("none:such", "gpt-x")

        assert "none:such\n  FAILED     ImproperlyConfigured: STREAMING_CHAT_PROVIDERS has no 'none'" in printed
        assert "gpt-x\n  FAILED     ImproperlyConfigured: a model is named alias:model" in printed

    def test_a_closing_tag_that_nothing_opens(self):
        """A site would see reasoning in its replies, and not know what to do."""
        self.server.default = Script(["Let me see", ".\n</think>\n\nHello"])
        printed = {}
        # Of a real model, the tag comes long after the first text; here, both may be in one read.
        for think_tags in (False, "unopened"):
            with override_settings(STREAMING_CHAT_MODEL_OPTIONS={"openai:gpt-x": {"think_tags": think_tags}}):
                printed[think_tags] = self.ask("openai:gpt-x").rpartition("openai:gpt-x\n")[2]

        assert 'set "think_tags": "unopened" for this model' in printed[False]
        assert "answer     Hello\n  reasoning  11 characters" in printed["unopened"]
        assert "hint" not in printed["unopened"]
