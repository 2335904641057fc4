"""What the errors of servers mean, by their own wording; and that a retry is tried only where it may help."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import SimpleTestCase

from streaming_chat.providers.errors import error_code, is_bare_error, status_in

pytestmark = pytest.mark.once

TOO_LONG = "context_too_long"
NO_CREDIT = "provider_auth"
NO_MODEL = "model_unknown"


def _messages(status: int | None, code: str, *messages: str) -> list[tuple[int | None, Any, str]]:
    return [(status, {"error": {"message": message}}, code) for message in messages]


# Status, body and our code. None of these succeeds by a retry.
FINAL: list[tuple[int | None, Any, str]] = [
    *_messages(
        400,
        TOO_LONG,
        "prompt is too long: 213462 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
        "Input token length too long",
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens). Use a shorter input.",
        "Requested token count exceeds the model's maximum context length of 32768 tokens.",
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
        "Prompt exceeds max length",
        "输入长度超过模型上限",
        "Prompt tokens too long",
        "Your input exceeds the context window of this model.",
        "Prompt contains 65000 tokens, too large for model with 32768 maximum context length",
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        "invalid params, context window exceeds limit",
        "prompt token count of 140000 exceeds the limit of 128000",
    ),
    (422, {"error": "Input validation error: `inputs` must have less than 512 tokens. Given: 571"}, TOO_LONG),
    (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4031 and 200",
            "error_type": "validation",
        },
        TOO_LONG,
    ),
    (413, {"error": {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000"}}, TOO_LONG),
    (400, {"object": "error", "message": "The prompt is too long.", "type": "BadRequestError", "code": 400}, TOO_LONG),
    (400, {"error": {"code": "1261", "message": "Prompt 超长"}}, TOO_LONG),
    (400, {"error": {"code": "context_length_exceeded"}}, TOO_LONG),
    (400, {"error": {"code": "string_above_max_length", "message": "x"}}, TOO_LONG),
    (500, {"error": {"message": "Context size has been exceeded."}}, TOO_LONG),
    (
        400,
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"message": "prompt is too long"}'}}},
        TOO_LONG,
    ),
    *_messages(
        429,
        TOO_LONG,
        "Request too large for gpt-x in organization org-1 on tokens per min (TPM): Limit 30000, Requested 40000.",
        "Rate limit reached for gpt-x on tokens per min (TPM): Limit 10,000, Used 0, Requested 12,500.",
    ),
    *_messages(
        400,
        NO_CREDIT,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits.",
        "You have reached your specified API usage limits. You will regain access on 2031-01-01.",
        "Access denied, please make sure your account is in good standing.",
        "Billing hard limit has been reached",
    ),
    *_messages(
        429,
        NO_CREDIT,
        "Your team 7 has either used all available credits or reached its monthly spending limit.",
        "Your account is suspended due to insufficient balance, please recharge your account",
        "您的账户已欠费,请充值后重试",
        "Insufficient balance or no resource package. Please recharge.",
        "Your account is not active, please check your billing details on our website.",
    ),
    (403, {"code": "permission-denied", "error": "Your newly created team doesn't have any credits yet."}, NO_CREDIT),
    (402, {"error": {"message": "Insufficient Balance"}}, NO_CREDIT),
    (400, {"error": {"code": "Arrearage", "type": "Arrearage"}}, NO_CREDIT),
    (429, {"error": {"code": "1113", "message": "x"}}, NO_CREDIT),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "x"}}, NO_CREDIT),
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}, NO_CREDIT),
    (None, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, NO_CREDIT),
    *_messages(
        404,
        NO_MODEL,
        "The API deployment for this resource does not exist.",
        "The model grok-0 does not exist or your team 7 does not have access to it.",
        "Not found the model moonshot-v0 or Permission denied",
        "No endpoints found for x/y.",
        "model: claude-0",
        "models/gemini-0 is not found for API version v1beta",
    ),
    (404, {"error": {"code": "DeploymentNotFound", "message": "x"}}, NO_MODEL),
    (404, {"error": {"code": "ModelNotFound", "message": "x"}}, NO_MODEL),
    (400, {"error": {"message": "Model Not Exist"}}, NO_MODEL),
    (400, {"error": {"code": "1211", "message": "模型不存在,请检查模型代码"}}, NO_MODEL),
    (400, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}, NO_MODEL),
    (400, {"error": {"message": "The provided model identifier is invalid."}}, NO_MODEL),
    (400, {"error": {"message": "The model `x` has been decommissioned and is no longer supported."}}, NO_MODEL),
    (400, {"code": "invalid-argument", "error": "Incorrect API key provided: xa***."}, "provider_auth"),
    (401, {"error": {"message": "Access denied due to invalid subscription key"}}, "provider_auth"),
    (429, {"error": {"code": "1310", "message": "Weekly limit"}}, "provider_rate_limited"),
    (400, {"error": {"code": "content_filter", "message": "ResponsibleAIPolicyViolation"}}, "provider_rejected"),
    (400, {"error": {"message": "max_tokens is too large: 100000. It supports at most 16384."}}, "provider_rejected"),
]

# The same of errors that may pass.
PASSING: list[tuple[int | None, Any, str]] = [
    *_messages(
        429,
        "provider_rate_limited",
        "Rate limit reached for gpt-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 5000. Try in 8s.",
        "Requests have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 1 second.",
        "You exceeded your current quota, please check your plan and billing details.",
        "Too many tokens, please wait before trying again.",
        "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
        "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
    ),
    (
        429,
        {"error": {"type": "engine_overloaded_error", "message": "The engine is overloaded"}},
        "provider_rate_limited",
    ),
    (429, {"error": {"code": "1302", "message": "您当前使用该 API 的并发数过高"}}, "provider_rate_limited"),
    (None, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, "provider_rate_limited"),
    (None, {"message": "Rate limit exceeded"}, "provider_rate_limited"),
    (424, {"error": "Request failed during generation", "error_type": "generation"}, "provider_error"),
    (503, {"error": {"message": "The model is not available at the moment."}}, "provider_unavailable"),
]


class ErrorCodeTests(SimpleTestCase):
    def test_what_is_final(self):
        for status, body, code in FINAL:
            with self.subTest(body=body):
                assert error_code(status, body) == (code, False)

    def test_what_may_pass(self):
        for status, body, code in PASSING:
            with self.subTest(body=body):
                assert error_code(status, body, inside=status is None) == (code, True)

    def test_the_same_words_inside_a_stream(self):
        for status, body, code in FINAL:
            if status in (400, 404, 422, None) and code != "provider_rejected":
                with self.subTest(body=body):
                    assert error_code(status_in(body), body, inside=True)[0] == code

    def test_any_shape_has_a_code(self):
        for body in (None, [], {}, 1, "", [None], {"error": None}, {"error": [1]}, {"error": {"message": {"a": 1}}}):
            with self.subTest(body=body):
                assert error_code(400, body) == ("provider_rejected", False)


class BareErrorTests(SimpleTestCase):
    def test_errors(self):
        for payload in (
            {"object": "error", "message": "x", "code": 400},
            {"code": "InvalidParameter", "message": "x", "request_id": "r"},
            {"detail": "Not Found"},
            {"base_resp": {"status_code": 1008}},
        ):
            with self.subTest(payload=payload):
                assert is_bare_error(payload)

    def test_other_objects(self):
        for payload in ({}, {"choices": [], "message": "x"}, {"usage": {}}, {"base_resp": {"status_code": 0}}):
            with self.subTest(payload=payload):
                assert not is_bare_error(payload)
