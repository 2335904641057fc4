"""Spans and metrics as OpenTelemetry's in-memory exporters get them: which there are, and that no text is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, override_settings
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from streaming_chat.checks import check_telemetry
from streaming_chat.models import Message
from streaming_chat.providers import get_provider
from streaming_chat.shortcuts import send_message
from tests.factories import make_user
from tests.provider_server import Script
from tests.servers import ServerTestCase, wait_until

CANARY = "Canary7f3a"
SPANS = InMemorySpanExporter()
READER = InMemoryMetricReader()
_tracers = TracerProvider()
_tracers.add_span_processor(SimpleSpanProcessor(SPANS))
# A process has one of each, for good.
trace.set_tracer_provider(_tracers)
metrics.set_meter_provider(MeterProvider([READER]))


def traced(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Do as OpenTelemetry's middleware does: the request has a span, which is the current one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with trace.get_tracer("tests").start_as_current_span("request"):
            return get_response(request)

    return middleware


def metric_points() -> dict[str, list[Any]]:
    """Return the points of each metric since the last call of `get_metrics_data`."""
    data = READER.get_metrics_data()
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics if data else []:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found.setdefault(metric.name, []).extend(metric.data.data_points)
    return found


def everything() -> str:
    """Return all that was exported, as text."""
    data = READER.get_metrics_data()
    return json.dumps([span.to_json() for span in SPANS.get_finished_spans()]) + (data.to_json() if data else "")


@override_settings(STREAMING_CHAT_TELEMETRY=True, MIDDLEWARE=[f"{__name__}.traced", *settings.MIDDLEWARE])
class TelemetryTests(ServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # On a busy machine, to import an SDK takes as long as a test waits for an answer.
        for alias in ("openai", "responses", "anthropic"):
            get_provider(alias).prepare()

    def setUp(self) -> None:
        super().setUp()
        SPANS.clear()

    def spans(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Return the finished spans of this name, once there are so many."""
        return wait_until(lambda: found if len(found := self.named(name)) >= count else None)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in SPANS.get_finished_spans() if span.name == name]

    def ask(self, script: Script, model: str = "openai:gpt-x", **body: object) -> Message:
        self.provider.script(script)
        exchange = self.browser.request("POST", "api/messages", {"content": CANARY, "model": model, **body}).rest()
        return self.ended(exchange.message_id)

    def test_a_call_is_within_the_reply_within_the_request(self):
        reply = self.ask(Script())
        (call,), (whole,) = self.spans("chat gpt-x"), self.spans("streaming_chat.reply")
        request = next(span for span in self.spans("request") if span.context.span_id == whole.parent.span_id)

        assert call.parent.span_id == whole.context.span_id
        assert {span.context.trace_id for span in (call, whole, request)} == {request.context.trace_id}
        assert call.kind is SpanKind.CLIENT
        assert call.attributes["gen_ai.operation.name"] == "chat"
        assert call.attributes["gen_ai.provider.name"] == "openai"
        assert call.attributes["gen_ai.request.model"] == "gpt-x"
        assert call.attributes["gen_ai.conversation.id"] == str(reply.conversation_id)
        assert call.attributes["gen_ai.response.finish_reasons"] == ("stop",)
        assert call.attributes["gen_ai.usage.input_tokens"] == 7
        assert call.attributes["gen_ai.usage.output_tokens"] == 4
        assert 0 <= call.attributes["gen_ai.response.time_to_first_chunk"] < 20
        assert whole.attributes["streaming_chat.message.id"] == str(reply.pk)
        assert whole.attributes["streaming_chat.reply.status"] == "completed"

    def test_a_reply_for_python_code_is_within_the_span_of_the_caller(self):
        self.provider.script(Script())
        with trace.get_tracer("tests").start_as_current_span("job") as job:
            send_message(make_user("ana"), "Hi", model="openai:gpt-x")
        (whole,) = self.spans("streaming_chat.reply")

        assert whole.parent.span_id == job.get_span_context().span_id

    def test_an_error_is_named_by_its_code(self):
        self.ask(Script(status=400, body={"error": {"message": CANARY, "code": "x"}}))
        (call,), (whole,) = self.spans("chat gpt-x"), self.spans("streaming_chat.reply")

        assert call.attributes["error.type"] == whole.attributes["error.type"] == "provider_rejected"
        assert call.status.status_code is StatusCode.ERROR
        assert call.status.description is None
        assert call.events == whole.events == ()

    def test_each_call_is_measured(self):
        metric_points()
        self.ask(Script(), "anthropic:claude-x")
        self.spans("streaming_chat.reply")
        points = metric_points()
        of_call = {
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-x",
            "gen_ai.operation.name": "chat",
        }

        def of_model(name: str) -> Any:
            return next(point for point in points[name] if of_call.items() <= dict(point.attributes).items())

        assert of_model("gen_ai.client.inference.duration").count == 1
        assert of_model("gen_ai.client.inference.time_to_first_chunk").count == 1
        assert of_model("gen_ai.client.inference.usage.input_tokens").value == 7
        assert of_model("gen_ai.client.inference.usage.output_tokens").value == 4

    def test_no_text_is_exported(self):
        """Of a message, a prompt, a reply, its reasoning, its tool calls, or an error that quotes one."""
        with override_settings(STREAMING_CHAT_SYSTEM_PROMPT=CANARY):
            for model in ("openai:gpt-x", "responses:any", "anthropic:claude-x"):
                self.ask(Script([CANARY, " ", CANARY], reasoning=[CANARY], tool_calls=[(CANARY, "{}")]), model)
                self.ask(Script(status=400, body={"error": {"message": CANARY, "type": CANARY, "code": CANARY}}), model)
                self.ask(Script([CANARY], fault="error", after=1, error={"message": CANARY}), model)
        self.spans("streaming_chat.reply", 9)
        exported = everything()

        assert "gen_ai.client.inference.duration" in exported
        assert CANARY not in exported

    def test_without_the_setting_there_is_nothing(self):
        with override_settings(STREAMING_CHAT_TELEMETRY=False):
            self.ask(Script())

        assert self.named("streaming_chat.reply") == self.named("chat gpt-x") == []


class ImportTests(SimpleTestCase):
    @pytest.mark.slow
    def test_opentelemetry_is_not_imported_before_it_is_needed(self):
        script = (
            "import sys, django; django.setup()\n"
            "from streaming_chat.engine import runner, telemetry\n"
            "assert telemetry.begin(None, telemetry.current_context()) is None\n"
            "print('opentelemetry' in sys.modules)"
        )
        environment = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "False"

    def test_a_package_that_is_missing_is_an_error(self):
        with override_settings(STREAMING_CHAT_TELEMETRY=True):
            assert check_telemetry() == []
            with patch.dict(sys.modules, {"opentelemetry": None}):
                assert [error.id for error in check_telemetry()] == ["streaming_chat.E011"]
