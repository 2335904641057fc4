"""Spans and metrics of replies for OpenTelemetry, if STREAMING_CHAT_TELEMETRY is on. Never any content.

A reply has a span, within that of the request that sent it, which ends earlier. Each call of a provider has a span within
the reply's, and is measured. Errors are named by their code: the message of an exception may quote a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from streaming_chat.conf import conf
from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.endings import Ending
from streaming_chat.providers.base import Prompt, Provider, ProviderStream

from . import telemetry_names as names

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span, Tracer

    from .receiver import Order


class Progress(NamedTuple):
    """What a call has brought so far. first_event_at: by the loop's clock, None without an event."""

    upstream: ProviderStream | None
    first_event_at: float | None


class ReplyTelemetry:
    """The span of one reply, and the calls within it."""

    def __init__(self, order: Order, parent: Context | None) -> None:
        attributes = {
            names.MESSAGE_ID: str(order.message_id),
            names.CONVERSATION_ID: str(order.conversation_id),
        }
        self._conversation_id = attributes[names.CONVERSATION_ID]
        self._instruments = _instruments()
        self._span = self._instruments.tracer.start_span(names.REPLY_SPAN, parent, attributes=attributes)

    @contextmanager
    def call(
        self, provider: Provider, prompt: Prompt, clock: Callable[[], float], progress: Callable[[], Progress]
    ) -> Iterator[Call]:
        """Measure one call of a provider. It is the current span, within which an instrumented HTTP client has its own."""
        from opentelemetry.trace import SpanKind, set_span_in_context, use_span

        attributes = _request_attributes(provider, prompt)
        span = self._instruments.tracer.start_span(
            f"{names.OPERATION} {prompt.model}",
            set_span_in_context(self._span),
            SpanKind.CLIENT,
            attributes | _options(prompt) | {names.CONVERSATION_ID: self._conversation_id},
        )
        call = Call(self._instruments, span, attributes, clock)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield call
        except Exception as error:
            call.error_code = error.code if isinstance(error, ProviderError) else type(error).__name__
            raise
        finally:
            call.end(progress())

    def end(self, ending: Ending) -> None:
        """End the reply's span. From any thread."""
        self._span.set_attribute(names.STATUS, ending.status)
        self._span.set_attribute(names.END_REASON, ending.end_reason)
        _note_error(self._span, ending.error_code)
        self._span.end()


class Call:
    """One call of a provider. error_code: how it failed, "" if it did not."""

    def __init__(
        self, instruments: Instruments, span: Span, attributes: dict[str, Any], clock: Callable[[], float]
    ) -> None:
        self._instruments, self._span, self._attributes, self._clock = instruments, span, attributes, clock
        self._started_at = clock()
        self.error_code = ""

    def end(self, progress: Progress) -> None:
        """End the span, and record what was measured."""
        upstream, first_event_at = progress
        seconds = self._clock() - self._started_at
        error = {names.ERROR_TYPE: self.error_code} if self.error_code else {}
        self._instruments.duration.record(seconds, self._attributes | error)
        # Of a reply with tools, it may be that of an earlier call.
        if first_event_at is not None and first_event_at >= self._started_at:
            self._instruments.first_chunk.record(first_event_at - self._started_at, self._attributes)
            self._span.set_attribute(names.RESPONSE_TIME_TO_FIRST_CHUNK, first_event_at - self._started_at)
        if upstream is not None:
            self._note_reply(upstream)
        _note_error(self._span, self.error_code)
        self._span.end()

    def _note_reply(self, upstream: ProviderStream) -> None:
        if upstream.finish_reason:
            self._span.set_attribute(names.RESPONSE_FINISH_REASONS, [upstream.finish_reason])
        for field, count in (upstream.usage._asdict() if upstream.usage else {}).items():
            if count is not None and (name := names.TOKENS.get(field)):
                self._span.set_attribute(names.USAGE_ATTRIBUTE + name, count)
                # No provider says of what kind they are.
                self._instruments.tokens[field].add(count, self._attributes | {names.TOKEN_MODALITY: "unknown"})


class Instruments(NamedTuple):
    """tokens: the counter of each field of `Usage`."""

    tracer: Tracer
    duration: Histogram
    first_chunk: Histogram
    tokens: dict[str, Counter]


def current_context() -> Context | None:
    """Return the caller's OpenTelemetry context, in which the request has its span; None if telemetry is off."""
    if not conf.STREAMING_CHAT_TELEMETRY:
        return None
    from opentelemetry.context import get_current

    return get_current()


def begin(order: Order, parent: Context | None) -> ReplyTelemetry | None:
    """Return the telemetry of a reply, which begins now; None if telemetry is off."""
    return ReplyTelemetry(order, parent) if conf.STREAMING_CHAT_TELEMETRY else None


@cache
def _instruments() -> Instruments:
    from opentelemetry.metrics import get_meter
    from opentelemetry.trace import get_tracer

    meter = get_meter("streaming_chat")

    def seconds(name: str, description: str) -> Histogram:
        boundaries = list(names.BOUNDARIES)
        return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=boundaries)

    return Instruments(
        get_tracer("streaming_chat"),
        seconds(names.DURATION, "Duration of a provider's call"),
        seconds(names.TIME_TO_FIRST_CHUNK, "Time to the first event of a provider's call"),
        {
            field: meter.create_counter(names.USAGE_COUNTER + name, "{token}", f"Number of {name.replace('_', ' ')}")
            for field, name in names.TOKENS.items()
        },
    )


def _request_attributes(provider: Provider, prompt: Prompt) -> dict[str, Any]:
    """Return the attributes that spans and metrics have in common."""
    return {
        names.OPERATION_NAME: names.OPERATION,
        names.PROVIDER_NAME: provider.telemetry_name or provider.alias,
        names.REQUEST_MODEL: prompt.model,
    }


def _options(prompt: Prompt) -> dict[str, Any]:
    options = prompt.options
    return {
        names.REQUEST_STREAM: True,
        names.REQUEST_MAX_TOKENS: options.max_output_tokens,
        names.OUTPUT_TYPE: "text" if prompt.output is None else "json",
        **({names.REQUEST_REASONING_LEVEL: options.effort} if options.effort else {}),
    }


def _note_error(span: Span, code: str) -> None:
    from opentelemetry.trace import StatusCode

    if code:
        span.set_attribute(names.ERROR_TYPE, code)
        span.set_status(StatusCode.ERROR)
