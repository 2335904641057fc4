"""`manage.py runbatch --provider-batch` and `--collect`, against both batch APIs on loopback."""

import json
import tempfile
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, override_settings

from streaming_chat.providers.anthropic_batches import AnthropicBatches
from tests.batch_apis import BatchServer

PRICES = {f"{alias}:*": {"input": "1", "output": "10"} for alias in ("openai", "responses", "anthropic")}
FULL_PRICE = Decimal("0.000047")


@pytest.mark.slow
class ProviderBatchTests(SimpleTestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.input, self.output = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        self.state = Path(folder, "out.jsonl.batches")
        self.apis = self.enterContext(BatchServer())
        providers = {
            name: {
                "BACKEND": f"streaming_chat.providers.{backend}",
                "OPTIONS": {"api_key": "secret-key", "base_url": self.apis.url + path},
            }
            for name, backend, path in (
                ("openai", "openai.OpenAIProvider", "/v1"),
                ("responses", "openai_responses.OpenAIResponsesProvider", "/v1"),
                ("anthropic", "anthropic.AnthropicProvider", ""),
            )
        }
        settings = {"STREAMING_CHAT_PROVIDERS": providers, "STREAMING_CHAT_PRICES": PRICES}
        self.enterContext(override_settings(**settings, STREAMING_CHAT_MODELS=["openai:any"]))

    def write(self, model, *prompts):
        lines = [json.dumps({"id": prompt, "prompt": prompt, "model": model}) for prompt in prompts]
        self.input.write_text("\n".join(lines))

    def run_command(self, *arguments):
        out = StringIO()
        call_command("runbatch", str(self.input), str(self.output), *arguments, stdout=out, stderr=out)
        return out.getvalue()

    def results(self):
        return {result["id"]: result for result in map(json.loads, self.output.read_text().splitlines())}

    def test_submitted_now_and_collected_later(self):
        for model in ("openai:gpt-x", "responses:gpt-x", "anthropic:claude-x"):
            with self.subTest(model=model):
                self.output.unlink(missing_ok=True)
                self.apis.is_ended = False
                self.write(model, "a b/ü", "b")
                said = self.run_command("--provider-batch")
                with self.assertRaises(CommandError) as raised:
                    self.run_command("--collect")
                not_yet = self.output.read_text()
                self.apis.is_ended = True
                collected = self.run_command("--collect")

                assert said.startswith("2 lines in 1 batches submitted")
                assert (raised.exception.returncode, not_yet) == (75, "")
                assert "2 answered, 0 refused" in collected
                assert self.results()["a b/ü"]["text"] == "Answer to a b/ü"
                assert Decimal(self.results()["b"]["cost"]) == FULL_PRICE / 2
                assert not self.state.exists()

    def test_prompts_are_those_of_a_reply_without_a_stream(self):
        for model, name in (("openai:gpt-x", "body"), ("anthropic:claude-x", "params")):
            with self.subTest(model=model):
                self.state.unlink(missing_ok=True)
                self.write(model, "a")
                self.run_command("--provider-batch")
                [prompt] = list(self.apis.batches.values())[-1]

                assert prompt[name]["messages"] == [{"role": "user", "content": "a"}]
                assert not {"stream", "stream_options"} & prompt[name].keys()
                headers = self.apis.requests[-1][2]

                assert "secret-key" in headers.get("authorization", "") + headers.get("x-api-key", "")

    def test_what_expired_is_asked_by_the_next_run_and_what_was_rejected_is_not(self):
        self.apis.outcomes = {"b": "expired", "c": "rejected"}
        self.apis.is_ended = True
        for model in ("openai:gpt-x", "anthropic:claude-x"):
            with self.subTest(model=model):
                self.output.unlink(missing_ok=True)
                self.write(model, "a", "b", "c")
                self.run_command("--provider-batch")
                with self.assertRaisesMessage(CommandError, "1 lines are left"):
                    self.run_command("--collect")
                self.run_command("--provider-batch")

                assert {name: result.get("error", {}).get("code") for name, result in self.results().items()} == {
                    "a": None,
                    "c": "context_too_long",
                }
                assert len(list(self.apis.batches.values())[-1]) == 1
                self.state.unlink()

    def test_nothing_is_submitted_or_asked_twice(self):
        self.write("openai:gpt-x", "a")
        self.run_command("--provider-batch")
        for arguments in ((), ("--provider-batch",)):
            with self.assertRaisesMessage(CommandError, "1 lines in 1 batches are submitted"):
                self.run_command(*arguments)
        assert len(self.apis.batches) == 1

    def test_a_submission_without_an_answer_may_have_arrived(self):
        """It did, here: another one would be paid for twice."""
        self.apis.drops_submissions = True
        self.write("anthropic:claude-x", "a")
        with self.assertRaisesMessage(CommandError, "the batch API failed"):
            self.run_command("--provider-batch")
        with self.assertRaisesMessage(CommandError, "submission was interrupted"):
            self.run_command("--collect")

        assert len(self.apis.batches) == 1
        assert json.loads(self.state.read_text()) == [{"model": "anthropic:claude-x", "lines": 1, "id": ""}]

    def test_a_refused_submission_can_be_repeated(self):
        self.apis.refuses = True
        self.write("anthropic:claude-x", "a")
        with self.assertRaisesMessage(CommandError, "The model is busy"):
            self.run_command("--provider-batch")
        self.apis.refuses = False
        self.run_command("--provider-batch")

        assert len(self.apis.batches) == 1

    def test_a_batch_has_one_model_and_at_most_so_many_prompts(self):
        lines = [{"id": number, "prompt": "Hi", "model": f"anthropic:claude-{number % 2}"} for number in range(10)]
        self.input.write_text("\n".join(map(json.dumps, lines)))
        self.enterContext(_limited_to(2))
        said = self.run_command("--provider-batch")
        models = [{prompt["params"]["model"] for prompt in prompts} for prompts in self.apis.batches.values()]
        self.apis.is_ended = True
        self.run_command("--collect")

        assert said.startswith("10 lines in 6 batches")
        assert sorted(map(len, self.apis.batches.values())) == [1, 1, 2, 2, 2, 2]
        assert all(len(names) == 1 for names in models)
        assert len(self.results()) == 10

    def test_a_provider_without_a_batch_api(self):
        providers = {"demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider"}}
        self.write("demo:demo", "a")
        with (
            override_settings(STREAMING_CHAT_PROVIDERS=providers),
            self.assertRaisesMessage(CommandError, "no batch API"),
        ):
            self.run_command("--provider-batch")


class _limited_to:  # noqa: N801  (used like override_settings)
    """Let a batch of Anthropic's have so many prompts."""

    def __init__(self, most):
        self._most = most

    def __enter__(self):
        self._before = AnthropicBatches.max_items
        AnthropicBatches.max_items = self._most

    def __exit__(self, *args):
        AnthropicBatches.max_items = self._before
