"""OpenAI's chat completions API, at its own address or a compatible one.

It accepts what compatible servers send: content may be a list, reasoning has three names or stands between tags, usage is
in the last chunk, after it, in its choice or in each, the first `choices` may be empty, a chunk may also contain an error,
and a finish reason may appear twice or never. Unknown fields, events and values that are no objects are ignored. Damaged
JSON is a `provider_protocol` error, unless the finish reason came before it.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Unpack

from django.core.checks import CheckMessage, Warning  # noqa: A004  (Django's own name)

from streaming_chat.conf import conf
from streaming_chat.exceptions import ProviderError
from streaming_chat.outputs import Output
from streaming_chat.protocol.events import REASONING, TEXT, Event

from .base import Prompt, Provider, ProviderOptions
from .citations import CitedPages
from .errors import is_bare_error
from .http import HttpStream
from .model_names import is_model_name, split_model
from .openai_api import hashes_of, is_openai, make_clients, price_source
from .openai_batches import OpenAIBatches
from .openai_messages import messages_of, tool_parameters
from .openai_reasoning import nearest_effort, thinks
from .openai_tool_calls import ToolCalls
from .output_schemas import openai_format
from .parsing import MAX_ID, clean, count, merged, objects_in, parse, parse_objects

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_OUTPUT_FORMATS = ("json_schema", "json_object", "instruction")
_PREFILLS = (None, "message", "prefix", "continue_final_message")


class OpenAIProvider(Provider):
    """Chat completions at OpenAI or any compatible server.

    api_key: The key. For a server that needs none, any string.
    base_url: The address of the API, including `/v1`, without user name, password and query. Logs contain only its host.
        None: OpenAI's own.
    max_tokens_parameter: The server's name for the maximum length of a reply: `"max_completion_tokens"`, or `"max_tokens"`
        for servers that know only that.
    include_usage: Ask for the number of tokens. A few servers reject the request.
    prefill: How the server is asked to continue an assistant's turn: `"message"` for one that continues the last message
        (llama.cpp, LM Studio), `"prefix"` for one that wants it marked (Mistral, DeepSeek's beta API), or
        `"continue_final_message"` (vLLM, SGLang). None: not at all, as at OpenAI; the model is told to continue.
    output_format: How the server is told the object that a reply must be: `"json_schema"`, or for servers without it
        `"json_object"`, for any JSON, or `"instruction"`. With these two, the schema is in the system prompt.
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
        max_tokens_parameter: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens",
        include_usage: bool = True,
        prefill: Literal["message", "prefix", "continue_final_message"] | None = None,
        output_format: Literal["json_schema", "json_object", "instruction"] = "json_schema",
        organization: str | None = None,
        project: str | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        super().__init__(alias, **options)
        self.max_tokens_parameter = max_tokens_parameter
        self.include_usage = include_usage
        if prefill not in _PREFILLS:
            raise ValueError(f"prefill must be one of {_PREFILLS}, got {prefill!r}")
        self.prefill = prefill
        if output_format not in _OUTPUT_FORMATS:
            raise ValueError(f"output_format must be one of {_OUTPUT_FORMATS}, got {output_format!r}")
        self.output_format = output_format
        self.base_url = base_url
        self.is_openai = is_openai(base_url)
        self.clients = make_clients(
            "chat/completions",
            api_key=api_key,
            base_url=base_url,
            connect_seconds=self.connect_timeout,
            organization=organization,
            project=project,
        )

    def stream(self, prompt: Prompt) -> HttpStream:
        return OpenAIStream(self, prompt)

    def prefills(self, model: str) -> bool:
        return self.prefill is not None

    def sends_output(self, prompt: Prompt) -> bool:
        return self.output_format == "json_schema"

    def batches(self) -> OpenAIBatches:
        return OpenAIBatches(self, "chat/completions")

    def prepare(self) -> None:
        self.clients.load()

    def check(self) -> list[CheckMessage]:
        """Find options of models that only the other API of OpenAI has (W012)."""
        return [_no_reasoning(name) for name in self._models_with_reasoning()] if self.is_openai else []

    def _models_with_reasoning(self) -> list[str]:
        table: Any = conf.STREAMING_CHAT_MODEL_OPTIONS
        return [
            name
            for name, options in (table.items() if isinstance(table, dict) else ())
            if is_model_name(name) and split_model(name)[0] == self.alias
            if isinstance(options, dict) and options.get("show_reasoning")
        ]

    def price_source(self) -> tuple[str, str]:
        return price_source(self.base_url)

    def parameters(self, prompt: Prompt) -> dict[str, Any]:
        """Return the request's body."""
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        turns = messages_of(prompt.turns)
        parameters: dict[str, Any] = {"model": prompt.model, "messages": system + turns, "stream": True}
        if turns and turns[-1]["role"] == "assistant":
            if self.prefill == "prefix":
                turns[-1]["prefix"] = True
            elif self.prefill == "continue_final_message":
                parameters |= {"continue_final_message": True, "add_generation_prompt": False}
        parameters[self.max_tokens_parameter] = prompt.options.max_output_tokens
        if prompt.tools:
            parameters |= tool_parameters(prompt.tools)
        if self.include_usage:
            parameters["stream_options"] = {"include_usage": True}
        if effort := prompt.options.effort:
            parameters |= self._reasoning_effort(prompt.model, effort)
        if prompt.output and self.output_format != "instruction":
            parameters["response_format"] = self._response_format(prompt.output)
        if self.is_openai:
            parameters |= hashes_of(prompt.context)
        return prompt.options.apply_parameters(parameters)

    def _reasoning_effort(self, model: str, effort: str) -> dict[str, str]:
        if not self.is_openai:
            # Few compatible servers know `max`.
            return {"reasoning_effort": "xhigh" if effort == "max" else effort}
        return {"reasoning_effort": nearest_effort(model, effort)} if thinks(model) else {}

    def _response_format(self, output: Output) -> dict[str, Any]:
        schema = {"json_schema": openai_format(output)} if self.output_format == "json_schema" else {}
        return {"type": self.output_format, **schema}


class OpenAIStream(HttpStream):
    """One reply of the chat completions API."""

    text_key = b'"content"'

    def __init__(self, provider: OpenAIProvider, prompt: Prompt) -> None:
        super().__init__(prompt)
        self.provider = provider
        self.prompt = prompt
        self._tool_calls = ToolCalls()
        self._pages = CitedPages()
        self._began = False
        self._refused = False
        self._plain_reasoning = False

    async def _open(self) -> ClientResponse:
        client = await self.provider.clients.get()
        return await client.post(self.provider.parameters(self.prompt), self.prompt.options.headers)

    def leftovers(self) -> list[Event]:
        return self._pop_held(complete=False)

    def _pop_held(self, *, complete: bool) -> list[Event]:
        return self._pages.pop() + self._tool_calls.pop(complete=complete)

    def _take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        if data.startswith(b"[DONE]"):
            self._take_done(events)
        elif name and name != "message":
            self._take_named(name, data, events)
        else:
            for chunk in parse_objects(data):
                self._take_chunk(chunk, events)

    def _only_text(self, payload: Any) -> str:
        choices = payload["choices"]
        choice = choices[0]
        delta = choice.get("delta")
        others = [
            *(payload.get(key) for key in ("usage", "error", "x_groq")),
            *(choice.get(key) for key in ("usage", "error", "finish_reason", "finishReason")),
            *(value for key, value in delta.items() if key not in ("content", "role")),
        ]
        content = delta.get("content")
        return content if isinstance(content, str) and len(choices) == 1 and not any(others) else ""

    def _take_named(self, name: str, data: bytes, events: list[Event]) -> None:
        """Take an event with a name: an error, an ordinary chunk, or something that only this server sends."""
        try:
            chunk = parse(data)
        except ValueError:
            chunk = data.decode("utf-8", "replace")
        if isinstance(chunk, dict):
            self._take_chunk(chunk, events)
        if name == "error":
            raise self._reported(chunk)

    def _take_chunk(self, chunk: dict[str, Any], events: list[Event]) -> None:
        choices = chunk.get("choices")
        if choices:
            for choice in choices:
                if not choice.get("index"):
                    self._take_choice(choice, events)
        elif is_bare_error(chunk):
            raise self._reported(chunk)
        usage = chunk.get("usage")
        if usage:
            self._take_usage(usage)
        if not self.request_id:
            self.request_id = clean(chunk.get("id"), MAX_ID)
        if error := chunk.get("error"):
            raise self._reported(error)
        if "x_groq" in chunk:
            self._take_groq(chunk["x_groq"])

    def _take_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        delta = choice.get("delta")
        if delta:
            self._began = True
            self._take_delta(delta, events)
        elif delta is None and not self._began and (message := choice.get("message")):
            self._take_delta(message, events)  # All of the completion in one event.
        finish = choice.get("finish_reason") or choice.get("finishReason")  # The latter: Gemini, at times.
        if finish:
            self._take_finish(finish, choice, events)
        if usage := choice.get("usage"):  # Moonshot.
            self._take_usage(usage)
        if error := choice.get("error"):
            raise self._reported(error)

    def _take_finish(self, finish: Any, choice: dict[str, Any], events: list[Event]) -> None:
        self._finish(finish, choice.get("native_finish_reason"))
        if self._refused and self.end_reason == "stop":
            self.end_reason = "content_filter"
        if self.finish_reason:
            events += self._pop_held(complete=True)

    def _take_delta(self, delta: dict[str, Any], events: list[Event]) -> None:
        """Add what a delta contains. Most contain text and nothing else."""
        content = delta.get("content")
        if len(delta) > 1 or not content:
            self._take_reasoning(delta, events)
        if content:
            if isinstance(content, str):
                events.append(Event(TEXT, content))
            else:
                events += _content_events(content)
        if len(delta) > 1 or not content:
            self._take_refusal(delta, events)
            self._take_calls(delta, events)
            self._take_annotations(delta)

    def _take_reasoning(self, delta: dict[str, Any], events: list[Event]) -> None:
        """Reasoning has two plain names; OpenRouter also sends details, which repeat them or replace them."""
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            self._plain_reasoning = True
            events.append(Event(REASONING, reasoning))
        elif not self._plain_reasoning and isinstance(details := delta.get("reasoning_details"), list):
            events += [
                Event(REASONING, text)
                for detail in details
                if isinstance(detail, dict) and (text := _text(detail.get("text")) or _text(detail.get("summary")))
            ]

    def _take_refusal(self, delta: dict[str, Any], events: list[Event]) -> None:
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refused = True
            events.append(Event(TEXT, refusal))

    def _take_calls(self, delta: dict[str, Any], events: list[Event]) -> None:
        if calls := delta.get("tool_calls"):
            self._tool_calls.take(calls)
        if call := delta.get("function_call"):  # The form before tools.
            self._tool_calls.take([{"index": 0, "function": call}])
        if self._tool_calls.are_too_long:
            events += self._tool_calls.pop(complete=False)

    def _take_annotations(self, delta: dict[str, Any]) -> None:
        """Hold what the text cites, as the search models of OpenAI and OpenRouter's plug-in send it."""
        for annotation in objects_in(delta.get("annotations")):
            page = annotation.get("url_citation")
            if isinstance(page, dict):
                self._pages.add(page.get("url"), page.get("title"))

    def _take_usage(self, usage: Any) -> None:
        """Merge the usage. If each chunk has one, it grows, and the last applies; a later one may have less in it."""
        if not isinstance(usage, dict):
            return
        inputs = _mapping(usage.get("prompt_tokens_details"))
        outputs = _mapping(usage.get("completion_tokens_details"))
        self.usage = merged(
            self.usage,
            count(usage.get("prompt_tokens", usage.get("input_tokens"))),
            count(inputs.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
            count(usage.get("completion_tokens", usage.get("output_tokens"))),
            count(outputs.get("reasoning_tokens", usage.get("reasoning_tokens"))),
            count(inputs.get("cache_write_tokens")),
        )

    def _take_groq(self, extra: Any) -> None:
        if not isinstance(extra, dict):
            return
        if self.usage is None:
            self._take_usage(extra.get("usage"))
        if extra.get("error"):
            raise self._reported(extra["error"])

    def _take_done(self, events: list[Event]) -> None:
        """Complete a reply that has a finish reason or, without one, usage."""
        if not self._unsuccessful and (self.finish_reason or self.usage):
            events += self._pop_held(complete=True)
            self._done = True
        else:
            detail = "[DONE] without a finish"
            self._end_body(
                ProviderError("provider_truncated", retryable=True, request_id=self.request_id, detail=detail)
            )

    def _take_whole(self, payload: Any, events: list[Event]) -> None:
        for chunk in payload if isinstance(payload, list) else [payload]:
            if isinstance(chunk, dict) and "choices" not in chunk and "error" not in chunk:
                raise self._reported(chunk)
            self._take_chunk(chunk, events)
        if not self._unsuccessful:
            events += self._pop_held(complete=True)


def _no_reasoning(model: str) -> CheckMessage:
    return Warning(
        f"STREAMING_CHAT_MODEL_OPTIONS[{model!r}] has show_reasoning, but OpenAI's chat completions return no reasoning.",
        hint="Use streaming_chat.providers.openai_responses.OpenAIResponsesProvider for OpenAI itself.",
        id="streaming_chat.W012",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _content_events(content: Any) -> list[Event]:
    """Return the events of content in parts, as Mistral sends it. Only text and thinking are used."""
    events = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            events.append(Event(TEXT, part))
        elif part.get("type") == "thinking":
            events += [Event(REASONING, event.payload) for event in _content_events(part.get("thinking"))]
        elif text := _text(part.get("text")):
            events.append(Event(TEXT, text))
    return events
