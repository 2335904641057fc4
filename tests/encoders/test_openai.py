"""The chunks of OpenAI's API for replies with tools of the site; the golden files and the SDKs' tests have the rest."""

import json

from django.test import SimpleTestCase

from streaming_chat.encoders.openai import OpenAIEncoder
from streaming_chat.engine.cursor import Cursor
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import STEP, TEXT, Event, length
from streaming_chat.protocol.tool_calls import approval, result
from tests.engine.streams import BEGIN, CALL, ID, stream_of, writes_of

FIRST = [Event(STEP, {"number": 1}), Event(TEXT, "I look."), CALL]
LAST = [result("1", "ok", "A secret"), Event(STEP, {"number": 2}), Event(TEXT, "Done.")]


def asked(runs):
    return approval([{"id": "1", "runs": runs, "editable": False}], "2030-01-01T00:00:00Z")


def chunks_of(*events, is_over=True, position=0, **options):
    stream = stream_of(*events)
    if is_over:
        stream.end(endings.payload(endings.completed("stop"), "", None))
    written = b"".join(writes_of(Cursor(stream, OpenAIEncoder(str(ID), **options), position))).decode()
    frames = [frame.removeprefix("data: ") for frame in written.split("\n\n")[:-1]]
    return [frame if frame == "[DONE]" else json.loads(frame) for frame in frames]


def deltas_of(chunks):
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk != "[DONE]" and chunk["choices"]]


class ToolsOfTheSiteTests(SimpleTestCase):
    def test_calls_that_the_server_runs_are_left_out(self):
        """A client would take them for its own, and send results."""
        chunks = chunks_of(*FIRST, *LAST)

        assert deltas_of(chunks) == [
            {"role": "assistant", "content": ""},
            {"content": "I look."},
            {"content": "Done."},
            {},
        ]
        assert "secret" not in json.dumps(chunks)
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"

    def test_calls_for_the_client_end_the_stream(self):
        chunks = chunks_of(*FIRST, asked("client"), is_over=False)
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

        assert deltas_of(chunks)[2] == {"tool_calls": [{"index": 0, **call}]}
        assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
        assert chunks[-1] == "[DONE]"

    def test_with_the_usage_asked_for(self):
        """It is not known yet, and the SDKs expect the chunk."""
        chunks = chunks_of(*FIRST, asked("client"), is_over=False, includes_usage=True)

        assert (chunks[-2]["choices"], chunks[-2]["usage"]) == ([], None)

    def test_an_approval_is_an_error(self):
        chunks = chunks_of(*FIRST, asked("server"), is_over=False)

        assert chunks[-1]["error"]["code"] == "approval_required"
        assert "[DONE]" not in chunks

    def test_the_completion_after_the_clients_result(self):
        before = [*FIRST, asked("client")]
        options = {"position": length([BEGIN, *before]), "goes_on_with": "openai:any"}
        chunks = chunks_of(*before, *LAST, **options)

        assert deltas_of(chunks) == [{"role": "assistant", "content": ""}, {"content": "Done."}, {}]
        assert {chunk["model"] for chunk in chunks[:-1]} == {"openai:any"}
