"""The UI message stream of the AI SDK: its parts, in the order in which its clients take them."""

import json
import random

from django.test import SimpleTestCase

from streaming_chat.encoders.ai_sdk import AISDKEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import REASONING, STEP, TEXT, TOOL_CALL, Event, length, source
from streaming_chat.protocol.tool_calls import approval, denial, result
from tests.engine.streams import BEGIN, CALL, ID, stream_of, writes_of

START = {"type": "start", "messageId": str(ID), "messageMetadata": {}}
USAGE = {"input_tokens": 3, "output_tokens": 2}


def payload(status="completed", reason="stop", error="", usage=None):
    return endings.payload(Ending(status, reason, error), "", usage)


def chunks_of(*events, ending=None, sdk=5):
    """Return what a client is sent of these events and their ending, and that [DONE] is the end of it."""
    stream = stream_of(*events)
    stream.end(ending or payload())
    return parsed(b"".join(writes_of(Cursor(stream, AISDKEncoder(str(ID), sdk=sdk)))))


def parsed(body):
    frames = body.decode("ascii").split("\n\n")

    assert frames[-2:] == ["data: [DONE]", ""]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames[:-1])

    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def types_of(chunks):
    return [chunk["type"] for chunk in chunks]


class PartTests(SimpleTestCase):
    def test_a_part_is_closed_before_the_next_and_before_the_ending(self):
        chunks = chunks_of(Event(REASONING, "Hm"), Event(TEXT, "He"), Event(TEXT, "llo"), CALL, Event(TEXT, "!"))

        assert chunks[:-1] == [
            START,
            {"type": "reasoning-start", "id": "1"},
            {"type": "reasoning-delta", "id": "1", "delta": "Hm"},
            {"type": "reasoning-end", "id": "1"},
            {"type": "text-start", "id": "3"},
            {"type": "text-delta", "id": "3", "delta": "Hello"},
            {"type": "text-end", "id": "3"},
            {"type": "tool-input-available", "toolCallId": "1", "toolName": "f", "dynamic": True, "input": {}},
            {"type": "text-start", "id": "9"},
            {"type": "text-delta", "id": "9", "delta": "!"},
            {"type": "text-end", "id": "9"},
        ]
        assert chunks[-1]["type"] == "finish"

    def test_a_client_that_was_there_and_one_that_came_later_make_the_same_of_it(self):
        events = [
            Event(REASONING, "Let me think."),
            *(Event(TEXT, letter) for letter in "Hello,\r\n wörld\u2028🎉"),
            CALL,
        ]
        rng = random.Random(1)
        for _ in range(30):
            stream, body = stream_of(), b""
            cursor = Cursor(stream, AISDKEncoder(str(ID)))
            for event in events:
                stream.append([event])
                if rng.random() < 0.5:
                    body += b"".join(writes_of(cursor))
            stream.end(payload())
            live = parsed(body + b"".join(writes_of(cursor)))
            merged = []
            for chunk in live:
                if merged and "delta" in chunk and merged[-1]["type"] == chunk["type"]:
                    merged[-1] = {**chunk, "delta": merged[-1]["delta"] + chunk["delta"]}
                else:
                    merged.append(chunk)

            assert merged == chunks_of(*events)

    def test_a_source_is_told_once_with_its_number(self):
        web = source("https://example.org/", "Example")
        untitled, page = source("https://example.org/2", ""), source("/articles/1", "Ours", origin="context")
        document = source("javascript:alert(1)", "A book")

        assert chunks_of(web, untitled, web, page, document)[1:-1] == [
            {"type": "source-url", "sourceId": "1", "url": "https://example.org/", "title": "Example"},
            {"type": "source-url", "sourceId": "2", "url": "https://example.org/2"},
            {"type": "source-url", "sourceId": "3", "url": "/articles/1", "title": "Ours"},
            {"type": "source-document", "sourceId": "4", "mediaType": "text/plain", "title": "A book"},
        ]

    def test_a_call_that_no_client_can_read(self):
        """The first clients of version 5 have no part for it, and stop at a part that they do not know."""
        for arguments, complete in (
            ('{"a": ', True),
            ("1e999", True),
            ("NaN", True),
            ("[" * 100_000, True),
            ("{}", False),
        ):
            call = Event(TOOL_CALL, {"id": "", "name": "f", "arguments": arguments, "complete": complete})

            assert types_of(chunks_of(call)) == ["start", "finish"]
            assert chunks_of(call, sdk=6)[1] == {
                "type": "tool-input-error",
                "toolCallId": "call-1",
                "toolName": "f",
                "dynamic": True,
                "input": arguments,
                "errorText": "The arguments of this call are incomplete, or not valid JSON.",
            }

    def test_kinds_of_later_versions_are_left_out(self):
        assert types_of(chunks_of(Event("image", {"url": "x"}), Event(TEXT, "a"))) == [
            *("start", "text-start", "text-delta", "text-end", "finish")
        ]


class ToolTests(SimpleTestCase):
    """Of the site. The client has an answer only once its stream has ended."""

    def waiting(self, runs="server", sdk=6):
        """Return what a client is sent of a reply that waits for one call."""
        stream = stream_of(*self.asked(runs))
        return parsed(b"".join(writes_of(Cursor(stream, AISDKEncoder(str(ID), sdk=sdk)))))

    def asked(self, runs="server"):
        return [
            Event(STEP, {"number": 1}),
            CALL,
            approval([{"id": "1", "runs": runs, "editable": False}], "2030-01-01T00:00:00Z"),
        ]

    def after(self, *events, sdk=6):
        """Return what a client is sent that has answered, of what follows."""
        asked = self.asked()
        stream = stream_of(*asked, *events)
        stream.end(payload())
        encoder = AISDKEncoder(str(ID), sdk=sdk, continues=True)
        return parsed(b"".join(writes_of(Cursor(stream, encoder, length([BEGIN, *asked])))))

    def test_a_reply_that_waits_ends_the_stream_with_requests(self):
        call, request, end_of_step, finish = self.waiting()[2:]

        assert call["type"] == "tool-input-available"
        assert request == {"type": "tool-approval-request", "approvalId": f"{ID}/1", "toolCallId": "1"}
        assert end_of_step == {"type": "finish-step"}
        assert finish["finishReason"] == "tool-calls"
        assert finish["messageMetadata"] == {
            "status": "waiting",
            "approval": {
                "calls": [{"id": "1", "runs": "server", "editable": False}],
                "expires": "2030-01-01T00:00:00Z",
            },
        }

    def test_a_tool_of_the_client_is_not_asked_about(self):
        assert types_of(self.waiting("client")) == [
            *("start", "start-step", "tool-input-available", "finish-step", "finish")
        ]

    def test_version_5_learns_of_an_approval_by_the_metadata_alone(self):
        chunks = self.waiting(sdk=5)

        assert "tool-approval-request" not in types_of(chunks)
        assert chunks[-1]["messageMetadata"]["status"] == "waiting"
        assert "finishReason" not in chunks[-1]

    def test_the_stream_after_an_answer_goes_on_with_the_message(self):
        start, output, *rest = self.after(result("1", "ok", "Done"), Event(STEP, {"number": 2}), Event(TEXT, "Yes"))

        assert start == {"type": "start", "messageId": str(ID), "messageMetadata": {"status": "streaming"}}
        assert output == {"type": "tool-output-available", "toolCallId": "1", "dynamic": True, "output": "Done"}
        assert types_of(rest) == ["start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"]

    def test_what_a_person_has_denied_is_no_error(self):
        assert self.after(denial("1", "No"))[1] == {"type": "tool-output-denied", "toolCallId": "1"}

    def test_what_the_site_has_denied_is_an_error(self):
        """The part of the client has the person's approval, beside which it must not be denied."""
        assert self.after(result("1", "denied", "Not today."))[1]["type"] == "tool-output-error"

    def test_a_denial_for_clients_without_approvals(self):
        """Of version 5, and of later ones that were not asked: their part has no approval."""
        assert self.after(denial("1"), sdk=5)[1]["type"] == "tool-output-error"
        later = chunks_of(*self.asked(), denial("1"), sdk=6)
        assert types_of(later)[3] == "tool-output-error"
        assert "tool-approval-request" not in types_of(later)

    def test_failures(self):
        for status in ("error", "cancelled", "unknown"):
            [_start, _step, _call, failed, *_rest] = chunks_of(*self.asked()[:2], result("1", status, "Why"))

            assert failed == {"type": "tool-output-error", "toolCallId": "1", "dynamic": True, "errorText": "Why"}

    def test_a_last_step_with_results_is_followed_by_an_empty_one(self):
        """`lastAssistantMessageIsCompleteWithToolCalls` would send again otherwise."""
        for chunks in (chunks_of(*self.asked()[:2], result("1", "ok", "x")), self.after(result("1", "ok", "x"))):
            assert types_of(chunks)[-3:] == ["start-step", "finish-step", "finish"]

    def test_the_result_of_a_call_that_was_left_out_is_left_out(self):
        """Clients stop at the result of a call that they do not know."""
        call = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{", "complete": True})
        told = [Event(STEP, {"number": 1}), call, result("1", "error", "Not JSON.")]

        assert types_of(chunks_of(*told)) == ["start", "start-step", "finish-step", "finish"]
        assert types_of(chunks_of(*told, sdk=6))[2:4] == ["tool-input-error", "tool-output-error"]


class EndingTests(SimpleTestCase):
    def ending(self, *args, sdk=5, **options):
        """Return what follows the text."""
        chunks = chunks_of(Event(TEXT, "a"), ending=payload(*args, **options), sdk=sdk)

        assert types_of(chunks)[:4] == ["start", "text-start", "text-delta", "text-end"]

        return chunks[4:]

    def test_completed(self):
        [finish] = self.ending(usage=USAGE)
        metadata = {"status": "completed", "end_reason": "stop", "can_continue": False, "usage": USAGE}

        assert finish == {"type": "finish", "messageMetadata": metadata}

    def test_the_reason_for_later_clients(self):
        for reason, expected in (
            ("stop", "stop"),
            ("length", "length"),
            ("length_cap", "length"),
            ("content_filter", "content-filter"),
            ("tool_calls", "tool-calls"),
            ("of a later version", "other"),
        ):
            [finish] = self.ending("completed", reason, sdk=6)

            assert finish["finishReason"] == expected

    def test_stopped(self):
        metadata, abort = self.ending("stopped", "user")

        assert metadata["messageMetadata"]["end_reason"] == "user"
        assert abort == {"type": "abort"}

    def test_failed(self):
        for status in ("interrupted", "failed"):
            metadata, error = self.ending(status, error="provider_stall")

            assert metadata["messageMetadata"]["error"]["code"] == "provider_stall"
            assert error == {"type": "error", "errorText": "The model stopped responding."}

    def test_after_a_cut_nothing_is_sent_twice(self):
        """The protocol cannot take back a text: a client that has seen more keeps it."""
        stream = stream_of(Event(TEXT, "one two"))
        cursor = Cursor(stream, AISDKEncoder(str(ID)))
        body = b"".join(writes_of(cursor))
        stream.cut_at(stream.position - 4)
        stream.end(payload("stopped", "user"))
        body += b"".join(writes_of(cursor))

        assert types_of(parsed(body)) == [
            *("start", "text-start", "text-delta", "text-end", "message-metadata", "abort")
        ]

    def test_a_stream_begins_with_the_reply_whatever_position_is_asked_for(self):
        stream = stream_of(Event(TEXT, "one"))
        stream.end(payload())
        for position in (2, 100):
            cursor = Cursor(stream, AISDKEncoder(str(ID)), position)

            assert types_of(parsed(b"".join(writes_of(cursor))))[:2] == ["start", "text-start"]
