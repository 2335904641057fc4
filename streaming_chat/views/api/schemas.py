"""JSON Schemas of what the API answers: the objects of serializers.py, and what the views put around them.

A name in capitals is a schema; those of SCHEMAS are named in openapi.json.
"""

from __future__ import annotations

from typing import Any

from streaming_chat.exceptions import ENDING_CODES, OUTPUT_ERRORS
from streaming_chat.models import Message, Status
from streaming_chat.protocol.endings import END_REASONS
from streaming_chat.protocol.tool_calls import RESULT_STATUSES
from streaming_chat.providers.model_options import EFFORTS

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
STATUS: Schema = {"type": "string", "enum": Status.values}


def ref(name: str) -> Schema:
    """Return a reference to a schema of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """Return the schema of such a value or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def record(_optional: dict[str, Schema] | None = None, **properties: Schema) -> Schema:
    """Return the schema of an object that has these properties, and maybe the optional ones."""
    return {"type": "object", "properties": properties | (_optional or {}), "required": list(properties)}


def error(*codes: str, **details: Schema) -> Schema:
    """Return the schema of an error object with one of these codes. details: what it may have in addition."""
    code = {"type": "string", "enum": list(codes)}
    return record(
        {"ref": {**STRING, "description": "Finds the error in the log."}} | details,
        code=code,
        message={**STRING, "description": "Safe to show, in the language of the request."},
        retryable=BOOLEAN,
    )


def part(kind: str, **properties: Schema) -> Schema:
    """Return the schema of a part of this kind."""
    return record(kind={"const": kind}, **properties)


_CONVERSATION = {
    "id": ID,
    "title": STRING,
    "model": STRING,
    "head": {**nullable(ID), "description": "The message at the end of the branch in view."},
    "last_status": {"type": "string", "enum": ["", *Status.values]},
    "message_count": COUNT,
    "metadata": {"type": "object"},
    "created_at": TIME,
    "last_activity": TIME,
}
_PARTS = (
    part("text", text=STRING),
    part("reasoning", text=STRING),
    # runs: of a tool that the provider runs itself.
    record(
        {"runs": {"const": "provider"}},
        kind={"const": "tool_call"},
        id=STRING,
        name=STRING,
        arguments=STRING,
        complete=BOOLEAN,
    ),
    part("step", number=COUNT),
    part("tool_result", id=STRING, status={"enum": list(RESULT_STATUSES)}, output=STRING, ms=COUNT),
    part(
        "approval",
        calls=list_of(record(id=STRING, runs={"enum": ["server", "client"]}, editable=BOOLEAN)),
        expires=TIME,
    ),
    part("source", url=STRING, title=STRING, id=STRING, text=STRING, origin={"enum": ["provider", "context"]}),
)
_UI_PARTS = (
    record(type={"enum": ["text", "reasoning"]}, text=STRING, state={"const": "done"}),
    record({"title": STRING}, type={"const": "source-url"}, sourceId=STRING, url=STRING),
    record(type={"const": "source-document"}, sourceId=STRING, mediaType=STRING, title=STRING),
    record(type={"const": "step-start"}),
    record(
        {"errorText": STRING, "output": STRING, "approval": record(id=STRING, approved=BOOLEAN)},
        type={"const": "dynamic-tool"},
        state={"enum": ["input-available", "output-available", "output-error", "output-denied"]},
        toolCallId=STRING,
        toolName=STRING,
        input={},
    ),
)
_TOKENS = nullable(COUNT)
_NEXT = {**nullable(STRING), "description": "What to pass for the next page; null on the last one."}

SCHEMAS: dict[str, Schema] = {
    "Conversation": record(**_CONVERSATION),
    "OpenConversation": record(
        **_CONVERSATION,
        messages={**list_of(ref("Message")), "description": "The newest messages of the branch in view."},
        earlier={**nullable(ID), "description": "`before` of the page of messages before these."},
    ),
    "ConversationPage": record(results=list_of(ref("Conversation")), next=_NEXT),
    "SearchPage": record(
        # Without words, the answer is the list.
        results=list_of(record({"match": ref("Match")}, **_CONVERSATION)),
        next=_NEXT,
    ),
    "ChatCompletion": record(
        id=STRING,
        object={"const": "chat.completion"},
        created=COUNT,
        model=STRING,
        system_fingerprint=STRING,
        choices=list_of({"type": "object"}),
        usage=nullable({"type": "object"}),
    ),
    "OpenAIModels": record(
        object={"const": "list"},
        data=list_of(record(id=STRING, object={"const": "model"}, created=COUNT, owned_by=STRING)),
    ),
    "OpenAIError": record(
        error=record({"ref": STRING}, message=STRING, type=STRING, param=nullable(STRING), code=STRING)
    ),
    "Match": record(message=nullable(ID), snippet=list_of(record(text=STRING, is_match=BOOLEAN))),
    "Message": record(
        {
            "answers": {
                **list_of(record(call=STRING, approved=BOOLEAN)),
                "description": "Of a reply that waits, or has.",
            },
            "may_answer": {**BOOLEAN, "description": "Whether the owner may answer. Where `answers` is."},
        },
        id=ID,
        conversation=ID,
        parent=nullable(ID),
        continues=nullable(ID),
        role={"type": "string", "enum": Message.Role.values},
        text=STRING,
        parts=list_of(ref("Part")),
        status=STATUS,
        end_reason={"type": "string", "enum": ["", *END_REASONS]},
        can_continue=BOOLEAN,
        error=nullable(error(*ENDING_CODES)),
        model=STRING,
        effort={"type": "string", "enum": ["", *EFFORTS]},
        output_name=STRING,
        output=nullable({"type": "object"}),
        output_error=nullable(error(*OUTPUT_ERRORS, "internal")),
        finish_reason=STRING,
        usage=nullable(ref("Usage")),
        cost={**nullable(STRING), "description": "A decimal number."},
        first_event_ms=nullable(COUNT),
        reasoning_ms=nullable(COUNT),
        duration_ms=nullable(COUNT),
        position={**COUNT, "description": "The number of units before the ending."},
        created_at=TIME,
        ended_at=nullable(TIME),
        feedback=nullable(record(value={"enum": [1, -1]}, comment=STRING)),
        siblings=record(index=COUNT, count=COUNT, previous=nullable(ID), next=nullable(ID)),
    ),
    "Part": {
        "anyOf": list(_PARTS),
        "description": "Ignore kinds that you do not know.",
    },
    "Usage": record(
        input_tokens=_TOKENS,
        cached_input_tokens=_TOKENS,
        cache_write_tokens=_TOKENS,
        output_tokens=_TOKENS,
        reasoning_tokens=_TOKENS,
        estimated=BOOLEAN,
    ),
    "MessagePage": record(
        {
            "earlier": {**nullable(ID), "description": "With `before`: what to pass for the page before this one."},
            "next": {**nullable(ID), "description": "Otherwise: what to pass as `after` for the next page."},
        },
        results=list_of(ref("Message")),
    ),
    "UIMessagePage": record(
        messages={
            **list_of(ref("UIMessage")),
            "description": "The newest messages of the branch in view that have ended.",
        },
        earlier={**nullable(ID), "description": "`before` of the page of messages before these."},
    ),
    "UIMessage": record(
        {"metadata": {"type": "object", "description": "What the stream of a reply says of it."}},
        id=ID,
        role={"type": "string", "enum": Message.Role.values},
        parts={**list_of({"anyOf": list(_UI_PARTS)}), "description": "Parts of the AI SDK.", "minItems": 1},
    ),
    "Turn": record(conversation=ref("Conversation"), user_message=nullable(ref("Message")), message=ref("Message")),
    "Offer": record(conversations=COUNT, titles=list_of(STRING)),
    "Claimed": record(conversations=COUNT),
    "ShareLink": record(
        shared_at=nullable(TIME), message={**nullable(ID), "description": "The last one that it shows."}
    ),
    "NewShareLink": record(url={**STRING, "description": "No other answer has it."}, shared_at=TIME, message=ID),
    "Models": record(
        results=list_of(
            record(
                id=STRING,
                label=STRING,
                description=STRING,
                effort=nullable({"type": "string", "enum": list(EFFORTS)}),
                efforts=list_of({"type": "string", "enum": list(EFFORTS)}),
                default=BOOLEAN,
            )
        )
    ),
    "CsrfToken": record(csrf_token=STRING),
    "Diagnosis": record(
        interface={"enum": ["asgi", "wsgi"]},
        threads=BOOLEAN,
        process=STRING,
        time={"type": "number"},
        scheme=STRING,
        host=STRING,
        notifier=STRING,
        grace={"type": ["number", "null"]},
        heartbeat={"type": "number"},
    ),
    "Document": {"type": "object", "description": "This document."},
}
# What an error of some codes has in addition.
ERROR_DETAILS: dict[str, dict[str, Schema]] = {
    "invalid": {
        "fields": {
            "type": "object",
            "additionalProperties": STRING,
            "description": "What was wrong, by the name of the field.",
        }
    },
    "not_acceptable": {"formats": list_of(STRING)},
    "reply_in_progress": {"reply": {**ID, "description": "The reply that is being written."}},
}
