"""Which effort OpenAI's models are sent, of those that a site may set."""

from django.test import SimpleTestCase

from streaming_chat.providers.model_options import EFFORTS
from streaming_chat.providers.openai_reasoning import nearest_effort, thinks

# In the order of EFFORTS: none, minimal, low, medium, high, xhigh, max.
SENT = {
    "o3": "low low low medium high high high",
    "openai/o4-mini": "low low low medium high high high",
    "gpt-5": "minimal minimal low medium high high high",
    "gpt-5-mini-2025-08-07": "minimal minimal low medium high high high",
    "gpt-5-codex": "low low low medium high high high",
    "gpt-5-pro": "high high high high high high high",
    "gpt-5.1": "none low low medium high high high",
    "gpt-5.1-codex-max": "low low low medium high xhigh xhigh",
    "gpt-5.1-chat-latest": "medium medium medium medium medium medium medium",
    "gpt-5.2-pro-2025-12-11": "medium medium medium medium high xhigh xhigh",
    "gpt-5.5": "none low low medium high xhigh xhigh",
    "gpt-5.6-luna": "none low low medium high xhigh max",
    "openai/gpt-6-luna": "none low low medium high xhigh max",
    "gpt-6-astra": "low low low medium high xhigh max",
    "gpt-6.1-sol": "low low low medium high xhigh max",
    "gpt-6.1-terra": "none low low medium high xhigh max",
    "gpt-6.2-sol": "low low low medium high xhigh max",
    "our-deployment": "none minimal low medium high xhigh max",
    "gpt-oss-120b": "none minimal low medium high xhigh max",
}


class EffortTests(SimpleTestCase):
    def test_the_nearest_that_the_model_knows_is_sent(self):
        for model, sent in SENT.items():
            with self.subTest(model):
                assert [nearest_effort(model, effort) for effort in EFFORTS] == sent.split()

    def test_models_without_reasoning(self):
        """They refuse a request that mentions it."""
        for model in (
            "gpt-4.1",
            "gpt-4o-mini",
            "chatgpt-4o-latest",
            "gpt-3.5-turbo",
            "gpt-5-chat-latest",
            "ft:gpt-4.1:a",
        ):
            with self.subTest(model):
                assert not thinks(model)

    def test_all_others_have_it(self):
        for model in SENT:
            with self.subTest(model):
                assert thinks(model)
