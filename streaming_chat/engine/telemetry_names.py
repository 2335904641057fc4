"""The names of OpenTelemetry's GenAI semantic conventions that the app uses, in version 0.1.0 of
https://github.com/open-telemetry/semantic-conventions-genai (docs/gen-ai/client-inference.md and gen-ai-token-metrics.md).

The conventions are in development: a newer version may rename them. What begins with `streaming_chat.` is the app's own.
"""

# Spans and metrics. The name of a call's span is the operation and the model.
REPLY_SPAN = "streaming_chat.reply"
OPERATION = "chat"
DURATION = "gen_ai.client.inference.duration"
TIME_TO_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
# Boundaries of the two, in seconds.
BOUNDARIES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

# Attributes
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105  (a name)
ERROR_TYPE = "error.type"
MESSAGE_ID = "streaming_chat.message.id"
STATUS = "streaming_chat.reply.status"
END_REASON = "streaming_chat.reply.end_reason"

# Of each number of tokens in `Usage`, what follows the two prefixes below.
TOKENS = {
    "input_tokens": "input_tokens",
    "cached_input_tokens": "cache_read.input_tokens",
    "cache_write_tokens": "cache_write.input_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning.output_tokens",
}
USAGE_ATTRIBUTE = "gen_ai.usage."
USAGE_COUNTER = "gen_ai.client.inference.usage."
