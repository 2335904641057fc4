"""The stream of a reply, as the native format has it."""

import hashlib
import json

from streaming_chat.models import Message
from streaming_chat.testing import Script, read_stream
from tests.native import ApiTestCase


class SimpleFormatTests(ApiTestCase):
    maxDiff = None

    def test_a_stream_is_this_byte_by_byte(self):
        call = [("weather", '{"city":"Köln"}')]
        self.provider.script(Script("Hello, wörld 🎉", reasoning=["Let me think."], tool_calls=call))
        response = self.api.post("api/messages", {"content": "Hi"})
        body = b"".join(response.streaming_content).decode("ascii")
        reply = Message.objects.get(role="assistant")
        pk, digest = reply.pk, hashlib.sha256("Hello, wörld 🎉".encode()).hexdigest()

        assert body == (
            f"retry: 1000\nid: {pk}/1\nevent: start\n"
            f'data: {{"text":"","message":"{pk}","user_message":"{reply.parent_id}",'
            f'"conversation":"{reply.conversation_id}","model":"scripted:model"}}\n\n'
            f'id: {pk}/14\nevent: reasoning\ndata: {{"text":"","reasoning":"Let me think."}}\n\n'
            f'id: {pk}/28\ndata: {{"text":"Hello, w\\u00f6rld \\ud83c\\udf89"}}\n\n'
            f'id: {pk}/29\nevent: tool_call\ndata: {{"text":"","tool_call":{{"id":"call_0","name":"weather",'
            '"arguments":"{\\"city\\":\\"K\\u00f6ln\\"}","complete":true}}\n\n'
            f'id: {pk}/end\nevent: done\ndata: {{"text":"","status":"completed","end_reason":"stop",'
            '"can_continue":false,"usage":{"input_tokens":7,"cached_input_tokens":null,"cache_write_tokens":null,'
            '"output_tokens":4,"reasoning_tokens":null,'
            f'"estimated":false}},"length":14,"sha256":"{digest}","model":"scripted:model"}}\n\n'
            "data: [DONE]\n\n"
        )

    def test_its_headers_hold_nothing_back(self):
        response = self.api.post("api/messages", {"content": "Hi"})
        wanted = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store, no-cache, no-transform",
            "Content-Encoding": "identity",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }

        assert wanted.items() <= dict(response.headers).items()
        assert "Cookie" in response.headers["Vary"]
        assert b"[DONE]" in b"".join(response.streaming_content)

    def test_the_format_can_be_named(self):
        response = self.api.post("api/messages?format=simple", {"content": "Hi"})

        assert read_stream(response).text == "Hello, world"

    def test_each_ending_has_its_name(self):
        scripts = {
            "done": Script("Whole"),
            "failed": Script([], error="provider_auth"),
            "interrupted": Script("Half", error="provider_stall"),
        }
        for name, script in scripts.items():
            with self.subTest(name=name):
                self.provider.script(script)
                streamed = self.api.send()
                end = streamed.frames[-2]

                assert (end.event, end.id) == (name, f"{streamed.start['message']}/end")
                assert streamed.frames[-1].data == "[DONE]"
                assert ("error" in end.data) == (name != "done")

    def test_an_error_says_only_what_is_safe(self):
        self.provider.script(Script([], error="provider_rejected"))
        error = self.api.send().end["error"]

        assert set(error) == {"code", "message", "retryable", "ref"}
        assert (error["code"], error["retryable"]) == ("provider_rejected", False)

    def test_the_plainest_reader_gets_the_exact_text(self):
        text = "data: x\n\nid: 1\r\n\u2028\u2029 🎉\n" * 300
        self.provider.script(Script([text[at : at + 7] for at in range(0, len(text), 7)]))
        shown = ""

        for line in b"".join(self.api.post("api/messages", {"content": "Hi"}).streaming_content).decode().split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                shown += json.loads(line[6:])["text"]

        assert shown == text
