"""Answers to tool calls as other clients send them, at a reply that waits in the database; tests/tools runs the tools."""

import json

from streaming_chat.models import LiveReply, Message, ToolCall
from streaming_chat.protocol.events import STEP, TEXT, TOOL_CALL, Event
from streaming_chat.protocol.tool_calls import approval
from tests.factories import make_conversation, make_live, make_token, make_user
from tests.native import Api, ApiTestCase

CHAT = "chat-1"
MODEL = "scripted:model"
RETURNED = {"type": "dynamic-tool", "toolCallId": "call_0", "state": "output-available", "output": {"city": "Köln"}}


def frames_of(response):
    frames = b"".join(response.streaming_content).decode().split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame not in ("", "data: [DONE]")]


class WaitingCase(ApiTestCase):
    def wait(self, runs="client", digest=""):
        """Make a reply that waits for one call."""
        self.conversation = make_conversation(self.user, chat_id=CHAT, model=MODEL)
        call = {"id": "call_0", "name": "locate", "arguments": "{}", "complete": True}
        asked = approval([{"id": "call_0", "runs": runs, "editable": False}], "2030-01-01T00:00:00Z")
        events = [Event(STEP, {"number": 1}), Event(TEXT, "I look."), Event(TOOL_CALL, call), asked]
        live = make_live(self.conversation, *events, expires=3600, worker="", slot=None)
        Message.objects.filter(pk=live.pk).update(status="waiting", model=MODEL, history_digest=digest)
        ToolCall.objects.create(message_id=live.pk, call_id="call_0", step=1, name="locate", status="waiting")
        self.reply_id = str(live.pk)

    def row(self):
        return ToolCall.objects.get()

    def result(self):
        parts = Message.objects.get(pk=self.reply_id).parts
        [result] = [part for part in parts if part["kind"] == "tool_result"]
        return result["status"], result["output"]


class AISDKTests(WaitingCase):
    def answer(self, part=RETURNED, api=None):
        message = {"id": self.reply_id, "role": "assistant", "parts": [part]}
        return (api or self.api).post("ai/chat?sdk=6", {"id": CHAT, "messages": [message]})

    def test_the_stream_of_a_reply_that_waits_ends(self):
        self.wait("server")
        types = [frame["type"] for frame in frames_of(self.api.get(f"ai/chat/{CHAT}/stream?sdk=6"))]

        assert types[-4:] == ["tool-input-available", "tool-approval-request", "finish-step", "finish"]

    def test_the_reply_goes_on(self):
        self.wait()
        frames = frames_of(self.answer())

        assert [frame["type"] for frame in frames[:3]] == ["start", "tool-output-available", "start-step"]
        assert frames[-1]["messageMetadata"]["status"] == "completed"
        assert self.result() == ("ok", '{"city": "Köln"}')
        assert self.row().by == self.user

    def test_it_is_stored_as_its_streams_have_shown_it(self):
        self.wait()
        frames_of(self.answer())
        [_user, message] = self.api.get(f"ai/chat/{CHAT}?sdk=6").json()["messages"]

        assert [part["type"] for part in message["parts"]] == [
            *("step-start", "text", "dynamic-tool", "step-start", "text")
        ]
        assert message["parts"][2]["output"] == '{"city": "Köln"}'

    def test_a_denial(self):
        self.wait("server")
        approved = {"id": f"{self.reply_id}/call_0", "approved": False, "reason": "No"}
        frames = frames_of(self.answer({**RETURNED, "state": "approval-responded", "approval": approved}))
        [_user, message] = self.api.get(f"ai/chat/{CHAT}?sdk=6").json()["messages"]
        call = message["parts"][2]

        assert frames[1] == {"type": "tool-output-denied", "toolCallId": "call_0"}
        assert (call["state"], call["approval"]["approved"], "errorText" in call) == ("output-denied", False, False)
        assert self.result() == ("denied", "The user did not allow this call. The reason given: No")

    def test_what_answers_nothing(self):
        """A result of a tool of the site is ours, whatever a client says; so is another owner's reply."""
        self.wait("server")
        stranger = Api(make_user("bo"))
        for response in (self.answer(), self.answer({"type": "text"}), self.answer(api=stranger)):
            assert response.status_code == 422

        assert self.row().status == "waiting"


class AGUITests(WaitingCase):
    def post(self, *messages, **fields):
        messages = [{"id": self.reply_id, "role": "assistant", "content": "I look."}, *messages]
        return self.api.post("ai/ag_ui", {"threadId": CHAT, "runId": "r2", "messages": messages, **fields})

    def resume(self, payload, status="resolved", call="call_0"):
        entry = {"interruptId": f"{self.reply_id}/{call}", "status": status, "payload": payload}
        return self.post(resume=[entry])

    def test_the_result_of_the_clients_tool(self):
        self.wait()
        result = {"id": "x", "role": "tool", "toolCallId": "call_0", "content": [{"type": "text", "text": "Köln"}]}
        frames = frames_of(self.post(result))

        # The client has the result.
        assert [frame["type"] for frame in frames[:2]] == ["RUN_STARTED", "STEP_STARTED"]
        assert frames[-1]["outcome"] == {"type": "success"}
        assert self.result() == ("ok", "Köln")

    def test_a_denial(self):
        for payload, status in (({"approved": False}, "resolved"), (None, "cancelled")):
            self.wait("server")
            frames = frames_of(self.resume(payload, status))

            assert frames[1]["metadata"] == {"status": "denied"}
            assert self.result()[0] == "denied"
            self.conversation.delete()

    def test_what_answers_nothing(self):
        self.wait("server")
        for response in (
            self.resume({"approved": True}, call="call_9"),
            self.resume({}),
            self.resume({"approved": "yes"}),
            self.post({"role": "tool", "toolCallId": "call_0", "content": "Köln"}),
        ):
            assert response.status_code == 422

        assert self.row().status == "waiting"


class OpenAITests(WaitingCase):
    HI = {"role": "user", "content": "Hi"}
    CALL = {"id": "call_0", "type": "function", "function": {"name": "locate", "arguments": "{}"}}
    RESULT = {"role": "tool", "tool_call_id": "call_0", "content": "Köln"}

    def setUp(self):
        super().setUp()
        self.bearer = {"Authorization": f"Bearer {make_token(self.user)}"}
        # Another reply to the same history, which has its digest.
        self.post(self.HI)
        self.digest = Message.objects.get(role="assistant").history_digest

    def post(self, *messages, **body):
        return self.api.post("v1/chat/completions", {"model": MODEL, "messages": messages, **body}, headers=self.bearer)

    def test_the_result_of_the_clients_tool(self):
        said = {"role": "assistant", "content": "I look.", "tool_calls": [self.CALL]}
        for stream in (False, True):
            self.wait(digest=self.digest)
            response = self.post(self.HI, said, self.RESULT, stream=stream)
            if stream:
                frames = frames_of(response)
                text = "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames)
            else:
                [choice] = response.json()["choices"]
                text = choice["message"]["content"]

            assert text == "\n\nHello, world"
            assert self.result() == ("ok", "Köln")
            assert not LiveReply.objects.exists()
            self.conversation.delete()
