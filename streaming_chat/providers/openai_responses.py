"""OpenAI's Responses API, at its own address or a compatible one. Nothing is stored there: each request has the history.

Text and refusals become text, reasoning and its summaries become reasoning, function calls and the server's own web searches
become tool calls, and the pages that the text cites become sources. Events and items of other kinds are ignored. A reply is
complete only with `response.completed` or `response.incomplete`.

Source: https://developers.openai.com/api/docs/guides/streaming-responses
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Unpack

from streaming_chat.protocol.events import REASONING, TEXT, Event

from .base import Prompt, Provider, ProviderOptions
from .citations import CitedPages
from .errors import is_bare_error
from .http import HttpStream
from .openai_api import hashes_of, is_openai, make_clients, price_source
from .openai_batches import OpenAIBatches
from .openai_items import items_of, tool_parameters
from .openai_reasoning import nearest_effort, thinks
from .output_schemas import openai_format
from .parsing import MAX_ID, MAX_NAME, HeldCalls, ToolCall, clean, count, merged, objects_in, parse_objects

if TYPE_CHECKING:
    from aiohttp import ClientResponse

# What is sent back of a call, besides what its event has: where among the reasoning it came.
_KEPT_OF_A_CALL = ("type", "id", "call_id")


class OpenAIResponsesProvider(Provider):
    """The Responses API at OpenAI or any compatible server.

    api_key: The key. For a server that needs none, any string.
    base_url: The address of the API, including `/v1`, without user name, password and query. Logs contain only its host.
        None: OpenAI's own.
    organization: Sent with each request, unless None.
    project: Sent with each request, unless None.
    """

    telemetry_name = "openai"
    takes_tools = True

    def __init__(
        self,
        alias: str,
        *,
        api_key: str,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        super().__init__(alias, **options)
        self.base_url = base_url
        self.is_openai = is_openai(base_url)
        self.clients = make_clients(
            "responses",
            api_key=api_key,
            base_url=base_url,
            connect_seconds=self.connect_timeout,
            organization=organization,
            project=project,
        )

    def stream(self, prompt: Prompt) -> HttpStream:
        return OpenAIResponsesStream(self, prompt)

    def sends_output(self, prompt: Prompt) -> bool:
        return True

    def batches(self) -> OpenAIBatches:
        return OpenAIBatches(self, "responses")

    def prepare(self) -> None:
        self.clients.load()

    def price_source(self) -> tuple[str, str]:
        return price_source(self.base_url)

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """Return the request's body."""
        parameters: dict[str, Any] = {
            "model": prompt.model,
            "input": items_of(prompt.turns),
            "max_output_tokens": prompt.options.max_output_tokens,
            "store": False,
            "stream": True,
            "stream_options": {"include_obfuscation": False},
        }
        if prompt.system:
            parameters["instructions"] = prompt.system
        if prompt.tools:
            parameters |= tool_parameters(prompt.tools)
        if thinks(prompt.model):
            parameters["include"] = ["reasoning.encrypted_content"]
            parameters |= _reasoning(prompt)
        if prompt.output:
            parameters["text"] = {"format": {"type": "json_schema", **openai_format(prompt.output)}}
        if self.is_openai:
            parameters |= hashes_of(prompt.context)
        return prompt.options.apply_parameters(parameters)


def _reasoning(prompt: Prompt) -> dict[str, Any]:
    reasoning = {}
    if effort := prompt.options.effort:
        reasoning["effort"] = nearest_effort(prompt.model, effort)
    if prompt.options.show_reasoning:
        reasoning["summary"] = "auto"
    return {"reasoning": reasoning} if reasoning else {}


class OpenAIResponsesStream(HttpStream):
    """One reply of the Responses API."""

    text_key = b'"delta"'

    def __init__(self, provider: OpenAIResponsesProvider, prompt: Prompt) -> None:
        super().__init__(prompt)
        self.provider = provider
        self.prompt = prompt
        self._calls = HeldCalls()
        self._called = False
        self._refused = False
        self._has_text = False
        # What the next text begins with: a reply may have several messages.
        self._break = ""
        # Which summary or text the latest reasoning belongs to; None if something else came after it.
        self._reasoned: tuple[Any, ...] | None = None
        self._pages = CitedPages()

    async def _open(self) -> ClientResponse:
        client = await self.provider.clients.get()
        return await client.post(self.provider.parameters(self.prompt), self.prompt.options.headers)

    def leftovers(self) -> list[Event]:
        return self._pages.pop() + self._calls.pop(complete=False)

    def _take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        for payload in parse_objects(data):
            kind = payload.get("type") or name
            if kind == "response.output_text.delta":
                self._take_text(payload, events)
            elif (take := self._takes.get(kind)) is not None:
                take(self, payload, events)
            elif not kind.startswith("response.") and (payload.get("error") or is_bare_error(payload)):
                raise self._reported(payload.get("error") or payload)

    def _only_text(self, payload: Any) -> str:
        return payload["delta"] if payload.get("type") == "response.output_text.delta" else ""

    def _take_text(self, payload: dict[str, Any], events: list[Event]) -> None:
        if text := _string(payload["delta"]):
            events.append(Event(TEXT, self._break + text))
            self._has_text, self._break = True, ""

    def _take_refusal(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._refused = True
        self._take_text(payload, events)

    def _take_reasoning(self, payload: dict[str, Any], events: list[Event]) -> None:
        """A summary has several parts, each a paragraph or more without a line break at its end."""
        if text := _string(payload["delta"]):
            index = payload.get("summary_index", payload.get("content_index"))
            part = (payload.get("type"), payload.get("output_index"), index)
            is_next = self._reasoned not in (None, part)
            events.append(Event(REASONING, f"\n\n{text}" if is_next else text))
            self._reasoned = part

    def _take_start(self, payload: dict[str, Any], events: list[Event]) -> None:
        if not self.request_id:
            self.request_id = clean(payload["response"].get("id"), MAX_ID)

    def _take_item(self, payload: dict[str, Any], events: list[Event]) -> None:
        item = payload["item"]
        kind = item.get("type")
        if (call := _tool_call(item)) is not None:
            self._calls.begin(payload.get("output_index"), call)
            self._release_too_long(events)
        if kind != "reasoning":
            self._reasoned = None
        if kind == "message" and self._has_text:
            # The first text of the next message is not like those of this one.
            self._break, self._template = "\n\n", None

    def _take_arguments(self, payload: dict[str, Any], events: list[Event]) -> None:
        if (call := self._calls.get(payload.get("output_index"))) is not None:
            self._calls.add(call, arguments=_string(payload["delta"]))
            self._release_too_long(events)

    def _release_too_long(self, events: list[Event]) -> None:
        if self._calls.are_too_long:
            events += self._calls.pop(complete=False)

    def _take_item_end(self, payload: dict[str, Any], events: list[Event]) -> None:
        """Take an item as it is in the end: encrypted reasoning and the action of a search differ before."""
        item = payload["item"]
        kind = item.get("type")
        if (call := _tool_call(item)) is not None:
            self._end_call(payload.get("output_index"), call, events, is_whole=item.get("status") != "incomplete")
        if kind == "message":
            self._note_citations(item)
            events += self._pages.pop()
        elif kind == "reasoning" and item.get("encrypted_content"):
            self.keep(item)
        elif kind == "function_call":
            self._called = True
            self.keep({key: item[key] for key in _KEPT_OF_A_CALL if key in item})

    def _end_call(self, index: Any, call: ToolCall, events: list[Event], *, is_whole: bool) -> None:
        """Return a call at its end; what the output limit has cut off is held, and is incomplete."""
        # Some servers send the arguments only in the deltas.
        if call.arguments or self._calls.get(index) is None:
            self._calls.begin(index, call)
        if is_whole:
            events += self._calls.end(index)
        self._release_too_long(events)

    def _take_annotation(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._note_citation(payload.get("annotation"))

    def _note_citations(self, message: dict[str, Any]) -> None:
        for part in objects_in(message.get("content")):
            for annotation in objects_in(part.get("annotations")):
                self._note_citation(annotation)

    def _note_citation(self, annotation: Any) -> None:
        if isinstance(annotation, dict) and annotation.get("type") == "url_citation":
            self._pages.add(annotation.get("url"), annotation.get("title"))

    def _take_end(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._take_ended(payload["response"], events)
        self._end_body(self._truncated())

    def _take_ended(self, response: dict[str, Any], events: list[Event]) -> None:
        """Take how a response has ended, and what of it was held."""
        self._take_usage(response.get("usage"))
        if response.get("error"):
            raise self._reported(response["error"])
        status = response.get("status")
        self._finish((response.get("incomplete_details") or {}).get("reason") or status)
        if self.finish_reason:
            events += self._pages.pop() + self._calls.pop(complete=status == "completed")
        if self.end_reason == "stop":
            self.end_reason = self._end_reason()

    def _end_reason(self) -> str:
        """Return what `completed` means."""
        if self._refused:
            return "content_filter"
        return "tool_calls" if self._called else "stop"

    def _take_error(self, payload: dict[str, Any], events: list[Event]) -> None:
        raise self._reported(payload.get("error") or payload)

    _takes = {
        "response.created": _take_start,
        "response.output_item.added": _take_item,
        "response.output_item.done": _take_item_end,
        "response.refusal.delta": _take_refusal,
        "response.reasoning_summary_text.delta": _take_reasoning,
        "response.reasoning_text.delta": _take_reasoning,
        "response.function_call_arguments.delta": _take_arguments,
        "response.mcp_call_arguments.delta": _take_arguments,
        "response.output_text.annotation.added": _take_annotation,
        "response.completed": _take_end,
        "response.incomplete": _take_end,
        "response.failed": _take_end,
        "error": _take_error,
    }

    def _take_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        inputs, outputs = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
        self.usage = merged(
            self.usage,
            count(usage.get("input_tokens")),
            count(inputs.get("cached_tokens")),
            count(usage.get("output_tokens")),
            count(outputs.get("reasoning_tokens")),
            count(inputs.get("cache_write_tokens")),
        )

    def _take_whole(self, payload: dict[str, Any], events: list[Event]) -> None:
        if payload.get("object") != "response":
            raise self._reported(payload.get("error") or payload)
        self._take_start({"response": payload}, events)
        for index, item in enumerate(payload["output"]):
            self._take_whole_item({"output_index": index, "item": item}, events)
        self._take_ended(payload, events)
        if not (self.finish_reason or self._unsuccessful):
            raise self._truncated()

    def _take_whole_item(self, payload: dict[str, Any], events: list[Event]) -> None:
        self._take_item(payload, events)
        item = payload["item"]
        for place, part in enumerate(objects_in(item.get("summary")) + objects_in(item.get("content"))):
            if (take := self._whole_parts.get(part.get("type", ""))) is not None:
                text = part.get("refusal") or part.get("text")
                take(self, {**payload, "content_index": place, "delta": text}, events)
        self._take_item_end(payload, events)

    _whole_parts = {
        "output_text": _take_text,
        "refusal": _take_refusal,
        "summary_text": _take_reasoning,
        "reasoning_text": _take_reasoning,
    }


def _tool_call(item: dict[str, Any]) -> ToolCall | None:
    """Return the call that an item is; None for any other item."""
    kind = item.get("type")
    if kind == "web_search_call":
        action = item.get("action") or {}
        # Without the results, which only some requests get.
        query = {key: value for key, value in action.items() if key != "sources"}
        return ToolCall(clean(item.get("id"), MAX_ID), "web_search", json.dumps(query), is_hosted=True)
    if kind in ("function_call", "mcp_call"):
        call_id = clean(item.get("call_id") or item.get("id"), MAX_ID)
        name, arguments = clean(item.get("name"), MAX_NAME), _string(item.get("arguments") or "")
        return ToolCall(call_id, name, arguments, is_hosted=kind == "mcp_call")
    return None


def _string(value: Any) -> str:
    """Return the string. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}.")
    return value
