"""A key in the path of base_url: the server gets it, and no log does. Anything else that may be one is refused."""

import logging
from typing import Self

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider
from tests.provider_server import ProviderServer, Script
from tests.received import PROMPT, receive

KEY = "sk-in-the-path-7f3a91"
PROVIDERS = {
    "openai": (OpenAIProvider, "/v1"),
    "responses": (OpenAIResponsesProvider, "/v1"),
    "anthropic": (AnthropicProvider, ""),
}


class Everything(logging.Handler):
    """Keeps what every logger writes, at any level."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.args!r}")

    def __enter__(self) -> Self:
        self._levels = {name: logging.getLogger(name).level for name in ["", *logging.root.manager.loggerDict]}
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.DEBUG)
        logging.root.addHandler(self)
        return self

    def __exit__(self, *_error: object) -> None:
        logging.root.removeHandler(self)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)


@pytest.mark.once
@pytest.mark.slow
class LogTests(SimpleTestCase):
    async def test_no_logger_writes_a_key_in_the_path_or_the_prompt(self):
        for alias, (kind, version) in PROVIDERS.items():
            for script in (Script(["Hello"]), Script(status=500, body={"error": {"message": "no"}})):
                with self.subTest(alias, status=script.status), ProviderServer() as server:
                    server.script(script)
                    provider = kind(alias, api_key="k", base_url=f"{server.url}/{KEY}{version}")
                    # The SDK, with its loggers, is imported here.
                    provider.prepare()
                    with Everything() as log:
                        await receive(provider)

                    assert server.calls[0].path.startswith(f"/{KEY}/")
                    assert not [line for line in log.lines if KEY in line or PROMPT.system in line]

    async def test_no_response_shows_it(self):
        """In debug mode, aiohttp logs the repr of a response that is freed before it was closed."""
        for alias, (kind, version) in PROVIDERS.items():
            with self.subTest(alias), ProviderServer() as server:
                provider = kind(alias, api_key="k", base_url=f"{server.url}/{KEY}{version}")
                client = await provider.clients.get()
                response = await client.post(provider.parameters(PROMPT))

                assert repr(response) == "<Response 200>"
                assert KEY in str(response.url)
                response.close()


@pytest.mark.once
class AddressTests(SimpleTestCase):
    def test_what_would_be_in_a_log_is_refused(self):
        for kind, _version in PROVIDERS.values():
            for url in (
                "https://me:sk-1@e.example/v1",
                "https://sk-1@e.example",
                "https://e.example/v1?key=sk-1",
                "//e",
            ):
                with self.subTest(kind.__name__, url=url), pytest.raises(ValueError, match="base_url must") as raised:
                    kind("own", api_key="k", base_url=url)
                assert "sk-1" not in str(raised.value)

    def test_no_repr_shows_the_address(self):
        for kind, _version in PROVIDERS.values():
            provider = kind("own", api_key="k", base_url=f"https://e.example/{KEY}")

            assert KEY not in f"{provider!r} {vars(provider.clients)!r}"
