"""Anthropic's messages API, at its own address or a compatible one.

Text blocks become text, thinking becomes reasoning, and tool use, including the server's own tools, becomes a tool call.
The web pages that the text cites become sources. Of redacted or omitted thinking, there is nothing to show: it is only kept
as state. Compaction, search results and unknown blocks and events are ignored. An error event ends the reply with one of our
codes.

Source: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
import re
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Unpack

from streaming_chat.protocol.events import REASONING, TEXT, Event

from . import anthropic_cache
from .anthropic_batches import AnthropicBatches
from .anthropic_messages import messages_of, tool_parameters
from .anthropic_state import ThinkingBlocks
from .anthropic_thinking import knows_schemas, thinking_parameters
from .base import Prompt, Provider, ProviderOptions, Tools, Usage
from .citations import CitedPages
from .clients import Address, Clients, Secret
from .errors import is_bare_error
from .http import HttpStream
from .output_schemas import anthropic_format, has_any_keys
from .parsing import MAX_ID, MAX_NAME, HeldCalls, ToolCall, clean, count, objects_in, parse_objects
from .turns import in_pairs

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from .http_client import Client

BASE_URL = "https://api.anthropic.com"
# The API rejects a prefilled assistant turn for the models from 4.6 on (docs: about-claude/models/migration-guide).
_PREFILLED = re.compile(r"claude-(instant|[23]\b|(opus|sonnet|haiku)-4(-[0-5])?([-@]\d{8}.*|-latest)?$)")
_OUTPUT_FORMATS = (None, "json_schema", "instruction")
_COUNTED = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class AnthropicProvider(Provider):
    """The messages API at Anthropic or any compatible URL.

    api_key: The key.
    base_url: The address of the API, without `/v1`, user name, password and query. Logs contain only its host. None:
        Anthropic's own.
    prefill: Whether the models continue an assistant's turn; otherwise, they are told to continue. None: Anthropic's models
        up to 4.5 do, later and other ones do not.
    output_format: How the model is told the object that a reply must be: `"json_schema"`, or `"instruction"`, in the system
        prompt. None: the former for Anthropic's models from 4.5 on.
    """

    telemetry_name = "anthropic"
    takes_tools = True

    def __init__(
        self,
        alias: str,
        *,
        api_key: str,
        base_url: str | None = None,
        prefill: bool | None = None,
        output_format: Literal["json_schema", "instruction"] | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        super().__init__(alias, **options)
        self.base_url = base_url
        self.prefill = prefill
        if output_format not in _OUTPUT_FORMATS:
            raise ValueError(f"output_format must be one of {_OUTPUT_FORMATS}, got {output_format!r}")
        self.output_format = output_format
        build = partial(
            _build_client,
            api_key=Secret(api_key),
            address=Address.of(base_url or BASE_URL),
            connect_seconds=self.connect_timeout,
        )
        self.clients = Clients("anthropic", build)

    def stream(self, prompt: Prompt) -> HttpStream:
        return AnthropicStream(self, prompt)

    def prefills(self, model: str) -> bool:
        return bool(_PREFILLED.search(model)) if self.prefill is None else self.prefill

    def problem_with_tools(self, model: str, tools: Tools) -> str:
        if any(function.get("strict") for function in tools.functions) and not knows_schemas(model):
            return "This model cannot be held to the schema of a tool, so strict must not be true."
        return ""

    def sends_output(self, prompt: Prompt) -> bool:
        if prompt.output is None or has_any_keys(prompt.output):
            return False
        return knows_schemas(prompt.model) if self.output_format is None else self.output_format == "json_schema"

    def batches(self) -> AnthropicBatches:
        return AnthropicBatches(self, self.base_url or BASE_URL)

    def prepare(self) -> None:
        self.clients.load()

    def price_source(self) -> tuple[str, str]:
        # A gateway has prices of its own, even for models of a known name.
        return ("provider_api_url", self.base_url) if self.base_url else ("provider_id", "anthropic")

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """Return the request's body."""
        parameters: dict[str, Any] = {
            "model": prompt.model,
            "messages": messages_of(prompt.turns),
            "max_tokens": prompt.options.max_output_tokens,
            "stream": True,
        }
        if prompt.system:
            parameters["system"] = prompt.system
        if prompt.context.owner_hash:
            parameters["metadata"] = {"user_id": prompt.context.owner_hash}
        parameters |= tool_parameters(prompt)
        parameters |= thinking_parameters(prompt)
        if prompt.output and self.sends_output(prompt):
            config = parameters.get("output_config", {})
            parameters["output_config"] = {**config, "format": anthropic_format(prompt.output)}
        if duration := self._cache_duration(prompt):
            lasting = in_pairs(prompt.turns[: anthropic_cache.lasting_turns(prompt)])
            anthropic_cache.mark(parameters, duration, len(lasting))
        return prompt.options.apply_parameters(parameters)

    def _cache_duration(self, prompt: Prompt) -> str | None:
        if prompt.options.cache != "auto":
            return prompt.options.cache
        # A compatible server may refuse the marks.
        return "5m" if self.base_url in (None, BASE_URL) else None


class AnthropicStream(HttpStream):
    """One reply of the messages API."""

    request_id_header = "request-id"
    text_key = b'"text"'

    def __init__(self, provider: AnthropicProvider, prompt: Prompt) -> None:
        super().__init__(prompt)
        self.provider = provider
        self.prompt = prompt
        self._calls = HeldCalls()
        self._blocks = ThinkingBlocks()
        self._pages = CitedPages()
        self._counted: dict[str, int] = {}

    async def _open(self) -> ClientResponse:
        client = await self.provider.clients.get()
        return await client.post(self.provider.parameters(self.prompt), self.prompt.options.headers)

    def leftovers(self) -> list[Event]:
        return self._pages.pop() + self._calls.pop(complete=False)

    def _take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        for payload in parse_objects(data):
            kind = payload.get("type") or name
            if kind == "content_block_delta":
                self._take_delta(payload["delta"], payload.get("index", 0), events)
            elif (take := self._takes.get(kind)) is not None:
                take(self, payload, events)
            elif payload.get("error") or is_bare_error(payload):
                raise self._reported(payload)

    def _only_text(self, payload: Any) -> str:
        delta = payload["delta"]
        return delta["text"] if payload.get("type") == "content_block_delta" and delta["type"] == "text_delta" else ""

    def _take_delta(self, delta: dict[str, Any], index: int, events: list[Event]) -> None:
        kind = delta["type"]
        if kind == "text_delta":
            events.append(Event(TEXT, _string(delta["text"])))
        elif kind == "thinking_delta":
            events.append(Event(REASONING, _string(delta["thinking"])))
            self._blocks.add(index, delta)
        elif kind == "signature_delta":
            self._blocks.add(index, delta)
        elif kind == "citations_delta":
            self._note_citation(delta.get("citation"))
        elif kind == "input_json_delta" and (call := self._calls.get(index)) is not None:
            self._calls.add(call, arguments=_string(delta["partial_json"]))
            self._release_too_long(events)

    def _note_citation(self, citation: Any) -> None:
        # Of documents and search results that were sent with the request, there is no address of the web.
        if isinstance(citation, dict) and citation.get("type") == "web_search_result_location":
            self._pages.add(citation.get("url"), citation.get("title"), citation.get("cited_text"))

    def _release_too_long(self, events: list[Event]) -> None:
        if self._calls.are_too_long:
            events += self._calls.pop(complete=False)

    def _take_start(self, payload: dict[str, Any], events: list[Event]) -> None:
        message = payload.get("message") or {}
        self._take_usage(message.get("usage"))
        if not self.request_id:
            self.request_id = clean(message.get("id"), MAX_ID)

    def _take_block(self, payload: dict[str, Any], events: list[Event]) -> None:
        block = payload["content_block"]
        kind = block.get("type")
        self._blocks.begin(payload.get("index", 0), block)
        if kind in CALLS:
            self._calls.begin(payload.get("index", 0), _tool_call(block))
            self._release_too_long(events)
        elif kind == "text" and block.get("text"):
            events.append(Event(TEXT, _string(block["text"])))
            for citation in objects_in(block.get("citations")):
                self._note_citation(citation)
        elif kind == "thinking" and block.get("thinking"):
            events.append(Event(REASONING, _string(block["thinking"])))

    def _take_block_end(self, payload: dict[str, Any], events: list[Event]) -> None:
        events += self._calls.end(payload.get("index", 0))
        if (item := self._blocks.end(payload.get("index", 0))) is not None:
            self.keep(item)

    def _take_message_delta(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._finish((payload.get("delta") or {}).get("stop_reason"))
        self._take_usage(payload.get("usage"))

    def _take_stop(self, payload: dict[str, Any], events: list[Event]) -> None:
        if not self._unsuccessful:
            events += self._pages.pop() + self._calls.pop(complete=True)
        self._complete()

    def _take_error(self, payload: dict[str, Any], events: list[Event]) -> None:
        raise self._reported(payload.get("error") or payload)

    _takes = {
        "message_start": _take_start,
        "content_block_start": _take_block,
        "content_block_stop": _take_block_end,
        "message_delta": _take_message_delta,
        "message_stop": _take_stop,
        "error": _take_error,
    }

    def _take_usage(self, usage: Any) -> None:
        """Merge what was counted: the start reports the input, the end the output and often all again; the last applies.

        Anthropic reports tokens read from and written to its cache separately from input_tokens; ours includes them. A
        compatible server may report 0 for what it counted before.
        """
        if not isinstance(usage, dict):
            return
        for key in _COUNTED:
            value = usage.get(key)
            if (number := count(value)) or (number == 0 and key not in self._counted):
                self._counted[key] = number
        counted = self._counted.get
        cached, written = counted("cache_read_input_tokens"), counted("cache_creation_input_tokens")
        inputs = counted("input_tokens")
        total = None if inputs is None else inputs + (cached or 0) + (written or 0)
        found = Usage(total, cached, counted("output_tokens"), cache_write_tokens=written)
        self.usage = None if found == Usage() else found

    def _take_whole(self, payload: dict[str, Any], events: list[Event]) -> None:
        if payload.get("type") != "message":
            raise self._reported(payload.get("error") or payload)
        self._take_start({"message": payload}, events)
        for index, block in enumerate(payload["content"]):
            self._take_block({"index": index, "content_block": block}, events)
            self._take_block_end({"index": index}, events)
        self._finish(payload.get("stop_reason"))
        events += self._pages.pop()


def _build_client(sdk: ModuleType, *, api_key: Secret, address: Address, connect_seconds: float) -> Client:
    from .http_client import Client, headers_of, unused_http_client

    client = sdk.AsyncAnthropic(api_key=api_key.value, base_url=address.origin, http_client=unused_http_client())
    return Client(address.url("v1/messages"), headers_of(client), connect_seconds)


def _tool_call(block: dict[str, Any]) -> ToolCall:
    """Return the call that a block begins. Some servers send all of its arguments here."""
    arguments = block.get("input")
    initial = json.dumps(arguments) if arguments else ""
    is_hosted = block["type"] != "tool_use"
    return ToolCall(clean(block.get("id"), MAX_ID), clean(block.get("name"), MAX_NAME), initial, is_hosted=is_hosted)


def _string(value: Any) -> str:
    """Return the string. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}.")
    return value
