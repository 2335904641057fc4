"""A request has the body and the headers with which the SDK sends it: here, both send it to the same server."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import anthropic
import httpx2
import openai
import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.base import Prompt, Turn
from streaming_chat.providers.model_options import ModelOptions
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider
from tests.provider_server import Call, ProviderServer
from tests.received import receive

KEY = "sk-very-secret"
TIMEOUT = httpx2.Timeout(None, connect=5.0)
PROMPT = Prompt(
    model="m",
    system="Be brïef.",
    turns=(Turn("user", "a"), Turn("assistant", "b"), Turn("user", '"c"\n😀')),
    options=ModelOptions(max_output_tokens=100),
)
# What the SDK says about itself (how its caller reads the response, for how long, and how often it has tried), what HTTP/1.1
# means without it, and the span that Anthropic's makes where OpenTelemetry is installed.
OF_THE_SDK = {
    *("x-stainless-raw-response", "x-stainless-timeout", "x-stainless-retry-count"),
    *("connection", "traceparent"),
}


@pytest.mark.once
@pytest.mark.slow
class RequestTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(ProviderServer())

    def setUp(self):
        self.server.clear()

    async def assert_same(self, provider: Any, sdk: Any, create: Any) -> Call:
        """Send the prompt both ways, and return the provider's call."""
        async with (
            sdk,
            create(**provider.parameters(PROMPT), extra_headers={"Accept-Encoding": "identity"}) as response,
        ):
            await response.read()
        theirs = self.server.calls[0]
        received = await receive(provider, PROMPT)
        ours = self.server.calls[1]

        assert received.error is None
        assert (ours.path, ours.body) == (theirs.path, theirs.body)
        assert ours.headers == {name: value for name, value in theirs.headers.items() if name not in OF_THE_SDK}
        return ours

    async def same_by_openai(self, **options: Any) -> Call:
        options = {"api_key": KEY, "base_url": self.server.openai_url, **options}
        sdk = openai.AsyncOpenAI(**options, timeout=TIMEOUT, http_client=openai.DefaultAioHttpClient())
        create = sdk.chat.completions.with_streaming_response.create
        return await self.assert_same(OpenAIProvider("openai", **options), sdk, create)

    async def same_by_openai_responses(self, **options: Any) -> Call:
        options = {"api_key": KEY, "base_url": self.server.openai_url, **options}
        sdk = openai.AsyncOpenAI(**options, timeout=TIMEOUT, http_client=openai.DefaultAioHttpClient())
        create = sdk.responses.with_streaming_response.create
        return await self.assert_same(OpenAIResponsesProvider("openai", **options), sdk, create)

    async def same_by_anthropic(self) -> Call:
        options = {"api_key": KEY, "base_url": self.server.anthropic_url}
        sdk = anthropic.AsyncAnthropic(**options, timeout=TIMEOUT, http_client=anthropic.DefaultAioHttpClient())
        create = sdk.messages.with_streaming_response.create
        return await self.assert_same(AnthropicProvider("anthropic", **options), sdk, create)

    async def test_openai(self):
        call = await self.same_by_openai(organization="org-1", project="proj-1")

        assert call.headers["authorization"] == f"Bearer {KEY}"
        assert call.headers["content-type"] == "application/json"
        assert (call.headers["openai-organization"], call.headers["openai-project"]) == ("org-1", "proj-1")

    async def test_openai_without_an_organization(self):
        call = await self.same_by_openai()

        assert "openai-organization" not in call.headers

    async def test_openai_responses(self):
        call = await self.same_by_openai_responses(organization="org-1", project="proj-1")

        assert call.headers["authorization"] == f"Bearer {KEY}"
        assert (call.headers["openai-organization"], call.headers["openai-project"]) == ("org-1", "proj-1")

    async def test_anthropic(self):
        call = await self.same_by_anthropic()

        assert KEY in f"{call.headers.get('authorization')} {call.headers.get('x-api-key')}"
        assert call.headers["anthropic-version"]

    async def test_headers_that_the_environment_names(self):
        """The SDKs add them to each request, or replace others by them."""
        lines = "X-Gateway: one\nuser-agent: ours"
        with mock.patch.dict(os.environ, OPENAI_CUSTOM_HEADERS=lines, ANTHROPIC_CUSTOM_HEADERS=lines):
            for send in (self.same_by_openai, self.same_by_openai_responses, self.same_by_anthropic):
                with self.subTest(send.__name__):
                    self.server.clear()
                    call = await send()

                    assert (call.headers["x-gateway"], call.headers["user-agent"]) == ("one", "ours")

    async def test_the_proxy_that_the_environment_names(self):
        host = self.server.url.removeprefix("http://")
        for environment in (
            {"HTTP_PROXY": self.server.url},
            {"ALL_PROXY": host},
            {"HTTP_PROXY": f"http://me:pass@{host}", "NO_PROXY": "other.invalid"},
        ):
            for provider, path in (
                (OpenAIProvider("openai", api_key=KEY, base_url="http://api.invalid/v1"), "/v1/chat/completions"),
                (AnthropicProvider("anthropic", api_key=KEY, base_url="http://api.invalid"), "/v1/messages"),
            ):
                with self.subTest(provider.alias, **environment), mock.patch.dict(os.environ, environment):
                    self.server.clear()
                    received = await receive(provider)
                    call = self.server.calls[0]
                    expected = "Basic bWU6cGFzcw==" if "me:pass" in environment.get("HTTP_PROXY", "") else None

                    assert received.error is None
                    assert call.path == f"http://api.invalid{path}"
                    assert call.headers.get("proxy-authorization") == expected

    async def test_a_host_that_needs_no_proxy(self):
        with mock.patch.dict(os.environ, HTTP_PROXY="http://proxy.invalid", NO_PROXY="127.0.0.1"):
            received = await receive(OpenAIProvider("openai", api_key=KEY, base_url=self.server.openai_url))

        assert received.error is None
