"""Calls and approvals as the AI SDK's, AG-UI's and OpenAI's clients send and read them; tests/browser runs the clients."""

import json

from django.test import override_settings

from streaming_chat.models import Conversation, LiveReply, Message, ToolCall
from streaming_chat.protocol import tool_calls
from tests.encoders.formats import sse_events
from tests.factories import make_token, make_user
from tests.provider_server import Script
from tests.servers import Browser, outcome, wait_until

from . import shop
from .cases import kinds, results, rows, unpaired
from .test_approval import PAY, ApprovalCase

CHAT = "chat-1"
LOCATE = ("locate", '{"precise": true}')


def frames_of(exchange):
    """Return the objects of a stream that was answered with 200."""
    assert exchange.status == 200, exchange.json()

    frames = [frame.removeprefix("data: ") for frame in exchange.body().decode().split("\n\n")]
    return [json.loads(frame) for frame in frames if frame not in ("", ":", "[DONE]")]


def types_of(frames):
    return [frame["type"] for frame in frames]


def user(text):
    return {"id": "u", "role": "user", "parts": [{"type": "text", "text": text}]}


def assistant(reply_id, *parts):
    return {"id": reply_id, "role": "assistant", "parts": [{"type": "text", "text": "I pay."}, *parts]}


def answered(reply_id, call="call_0", **approval):
    """Return the part of a call whose approval its client has answered."""
    approval = {"id": f"{reply_id}/{call}", "approved": True, **approval}
    return {
        "type": "dynamic-tool",
        "toolName": "pay",
        "toolCallId": call,
        "state": "approval-responded",
        "input": {"amount": 200},
        "approval": approval,
    }


def returned(output, call="call_0", **fields):
    part = {"type": "dynamic-tool", "toolName": "locate", "toolCallId": call, "input": {}, "state": "output-available"}
    return {**part, "output": output, **fields}


class FormatCase(ApprovalCase):
    def script(self, *calls, answer="Paid."):
        self.provider.script(Script(["I pay."], tool_calls=list(calls or [PAY])), Script([answer]))


class AISDKTests(FormatCase):
    def post(self, *messages, browser=None, sdk=6, **fields):
        return (browser or self.browser).post(f"ai/chat?sdk={sdk}", {"id": CHAT, "messages": [*messages], **fields})

    def ask(self, *calls, **options):
        """Send, and return the id of the reply once it waits, and the chunks of its stream."""
        self.script(*calls, **options)
        chunks = frames_of(self.post(user("Pay")))
        return chunks[0]["messageId"], chunks

    def test_regenerating_while_a_reply_waits(self):
        reply_id, _chunks = self.ask()
        refused = self.post(user("Pay"), trigger="regenerate-message", messageId=reply_id)

        assert refused.status == 409
        assert Message.objects.get(pk=reply_id).status == "waiting"

    def answer(self, reply_id, *parts, **options):
        return self.post(user("Pay"), assistant(reply_id, *(parts or [answered(reply_id)])), **options)

    def text_of(self, exchange):
        """Return the sentence of an error, and its status."""
        return exchange.status, exchange._file.read(int(exchange.headers["content-length"])).decode()

    def test_approve(self):
        reply_id, chunks = self.ask()

        assert types_of(chunks)[-3:] == ["tool-approval-request", "finish-step", "finish"]
        assert shop.ledger() == []

        more = frames_of(self.answer(reply_id))
        reply = self.ended(reply_id)
        text = "".join(chunk.get("delta", "") for chunk in [*chunks, *more])

        assert types_of(more)[:3] == ["start", "tool-output-available", "start-step"]
        assert more[0]["messageId"] == reply_id
        assert more[1]["output"] == "paid 200"
        assert text == reply.text == "I pay.\n\nPaid."
        assert outcome(reply) == ("completed", "stop", "")
        assert shop.ledger() == ["pay call_0 200"]
        assert ToolCall.objects.get().by == self.browser.user

    def test_deny(self):
        reply_id, _chunks = self.ask(answer="Then not.")
        more = frames_of(self.answer(reply_id, answered(reply_id, approved=False, reason="Too much")))
        reply = self.ended(reply_id)

        assert more[1] == {"type": "tool-output-denied", "toolCallId": "call_0"}
        assert results(reply) == [("denied", "The user did not allow this call. The reason given: Too much")]
        assert shop.ledger() == []

    def test_the_same_answer_again_is_the_same_stream(self):
        """A client that has lost the response sends it again, also after the ending."""
        reply_id, _chunks = self.ask()
        first = frames_of(self.answer(reply_id))
        self.ended(reply_id)
        second = frames_of(self.answer(reply_id))

        assert [chunk for chunk in second if "delta" in chunk] == [chunk for chunk in first if "delta" in chunk]
        assert types_of(second)[:2] == ["start", "tool-output-available"]
        assert len(shop.ledger()) == 1

    def test_another_answer(self):
        reply_id, _chunks = self.ask()
        frames_of(self.answer(reply_id))
        self.ended(reply_id)
        status, text = self.text_of(self.answer(reply_id, answered(reply_id, approved=False)))

        assert (status, text) == (409, "This was already answered differently.")

    def test_a_stranger(self):
        reply_id, _chunks = self.ask()
        stranger = Browser(self.server.port, make_user("stranger"))
        self.addCleanup(stranger.close)
        for chat in (CHAT, str(Conversation.objects.get().pk)):
            body = {"id": chat, "messages": [assistant(reply_id, answered(reply_id))]}
            assert stranger.post("ai/chat?sdk=6", body).status == 422

        assert shop.ledger() == []
        assert rows(Message.objects.get(pk=reply_id)) == [("pay", "waiting")]

    def test_without_the_permission(self):
        reply_id, _chunks = self.ask()
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": "tests.tools.test_approval.OnlyStaff"}):
            assert self.answer(reply_id).status == 403

        assert shop.ledger() == []

    def test_messages_that_answer_nothing(self):
        reply_id, _chunks = self.ask()
        requested = {**answered(reply_id), "state": "approval-requested", "approval": {"id": f"{reply_id}/call_0"}}
        for message in (
            assistant(reply_id, requested),
            assistant("unknown", answered(reply_id)),
            assistant(reply_id, answered(reply_id, call="call_9")),
            assistant(reply_id, answered(reply_id, approved="yes")),
            {**assistant(reply_id), "parts": "text"},
        ):
            assert self.post(user("Pay"), message).status == 422

        assert shop.ledger() == []

    def test_a_message_that_was_refused_meanwhile(self):
        """It stays in the client's list, after the reply that is answered then."""
        reply_id, _chunks = self.ask()
        shown = [user("Pay"), assistant(reply_id)]
        assert self.post(*shown, user("Well?")).status == 409

        shown[1] = assistant(reply_id, answered(reply_id))
        more = frames_of(self.post(*shown, user("Well?"), messageId=reply_id))

        assert types_of(more)[1] == "tool-output-available"
        assert Message.objects.filter(role="user").count() == 1

    def test_another_device_sees_the_request_and_answers(self):
        reply_id, _chunks = self.ask()
        other = Browser(self.server.port, self.browser.user)
        self.addCleanup(other.close)
        loaded = other.get(f"ai/chat/{CHAT}?sdk=6").json()["messages"]
        shown = frames_of(other.get(f"ai/chat/{CHAT}/stream?sdk=6"))

        # The reply that waits comes with its stream.
        assert [message["role"] for message in loaded] == ["user"]
        assert types_of(shown)[-3:] == ["tool-approval-request", "finish-step", "finish"]
        assert shown[-1]["messageMetadata"]["approval"]["calls"][0]["editable"] is True
        frames_of(self.answer(reply_id, browser=other))
        assert len(shop.ledger()) == 1

    def test_a_reply_that_waits_twice(self):
        self.provider.script(
            Script(["I pay."], tool_calls=[PAY]),
            Script(["And more."], tool_calls=[("pay", '{"amount": 300}')]),
            Script(["Paid."]),
        )
        reply_id = frames_of(self.post(user("Pay")))[0]["messageId"]
        again = frames_of(self.answer(reply_id))
        [asked] = [chunk for chunk in again if chunk["type"] == "tool-approval-request"]
        call = asked["toolCallId"]
        done = {**answered(reply_id), "state": "output-available", "output": "paid 200"}
        last = frames_of(self.answer(reply_id, done, answered(reply_id, call=call)))

        assert types_of(again)[1] == "tool-output-available"
        assert types_of(last)[1] == "tool-output-available"
        assert last[1]["toolCallId"] == call
        # A client that has lost the response to its first answer gets all that followed that.
        assert types_of(frames_of(self.answer(reply_id))).count("tool-output-available") == 2
        assert shop.ledger() == ["pay call_0 200", f"pay {call} 300"]

    def test_one_of_two_calls(self):
        """What is still asked for is not asked for again, since a part that has an answer would lose it."""
        reply_id, chunks = self.ask(PAY, ("pay", '{"amount": 300}'))
        first = frames_of(self.answer(reply_id))

        assert types_of(chunks).count("tool-approval-request") == 2
        assert types_of(first) == ["start", "finish"]
        assert first[1]["messageMetadata"]["status"] == "waiting"
        assert shop.ledger() == []

        frames_of(self.answer(reply_id, answered(reply_id), answered(reply_id, call="call_1", approved=False)))
        assert [status for status, _output in results(self.ended(reply_id))] == ["ok", "denied"]

    def test_stop_with_open_calls(self):
        reply_id, _chunks = self.ask()
        stopped = self.browser.post(f"ai/chat/{CHAT}/stop")
        assert (stopped.status, stopped.json()["status"]) == (200, "stopped")
        reply = self.ended(reply_id)
        [_user, message] = self.browser.get(f"ai/chat/{CHAT}?sdk=6").json()["messages"]
        [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]

        assert (call["state"], call["errorText"]) == ("output-error", tool_calls.NOT_RUN)
        assert "approval" not in call
        assert not unpaired(reply.parts)
        assert self.text_of(self.answer(reply_id)) == (409, "This is no longer waiting for an answer.")
        assert shop.ledger() == []

    def test_a_tool_of_the_client(self):
        reply_id, chunks = self.ask(LOCATE, answer="You are in Köln.")
        assert types_of(chunks)[-3:] == ["tool-input-available", "finish-step", "finish"]
        frames_of(self.answer(reply_id, returned({"city": "Köln"})))

        assert results(self.ended(reply_id)) == [("ok", '{"city": "Köln"}')]

    def test_stop_while_a_tool_runs(self):
        """Its call has a result in the stream, and a chat that sends by itself has nothing to send."""
        self.addCleanup(shop.gate.set)
        self.provider.script(Script(["I look."], tool_calls=[("held", '{"name": "a"}')]))
        exchange = self.post(user("Hello"))
        wait_until(shop.begun.is_set)
        assert self.browser.post(f"ai/chat/{CHAT}/stop").status == 200
        chunks = frames_of(exchange)
        reply = self.ended(chunks[0]["messageId"])

        assert types_of(chunks)[-6:] == [
            *("tool-output-error", "finish-step", "start-step", "finish-step", "message-metadata", "abort")
        ]
        assert chunks[-6]["errorText"] == tool_calls.STOPPED_WHILE_RUNNING
        assert not unpaired(reply.parts)

    def test_a_tool_of_the_client_that_failed(self):
        reply_id, _chunks = self.ask(LOCATE, answer="I do not know.")
        frames_of(self.answer(reply_id, returned(None, state="output-error", errorText="No GPS")))

        assert results(self.ended(reply_id)) == [("ok", '{"error": "No GPS"}')]

    def test_a_client_cannot_answer_for_a_tool_of_the_site(self):
        """Its results are ours, whatever a client says of them."""
        reply_id, _chunks = self.ask()
        assert self.answer(reply_id, returned("paid 200", toolName="pay")).status == 422

        assert shop.ledger() == []
        assert rows(Message.objects.get(pk=reply_id)) == [("pay", "waiting")]

    def test_version_5(self):
        """It has no approvals: the app answers by the native API, and the chat is resumed."""
        self.script()
        chunks = frames_of(self.post(user("Pay"), sdk=5))
        reply = Message.objects.get(pk=chunks[0]["messageId"])

        assert types_of(chunks)[-3:] == ["tool-input-available", "finish-step", "finish"]
        assert chunks[-1]["messageMetadata"]["status"] == "waiting"

        super().answer(reply).json()
        self.ended(reply.pk)
        [_user, message] = self.browser.get(f"ai/chat/{CHAT}").json()["messages"]
        assert [part["type"] for part in message["parts"]] == [
            *("step-start", "text", "dynamic-tool", "step-start", "text")
        ]


class AGUITests(FormatCase):
    def post(self, run, *messages, thread="t", **fields):
        messages = [{"id": "m", "role": "user", "content": "Pay"}, *messages]
        usual = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
        return self.browser.post(
            "ai/ag_ui", {"threadId": thread, "runId": run, "messages": messages, **usual, **fields}
        )

    def interrupted(self, *calls, **options):
        """Return the reply of a run that ended with interrupts, and these."""
        self.script(*calls, **options)
        *_inside, finished = frames_of(self.post("r1"))
        outcome = finished["outcome"]
        return Message.objects.get(role="assistant"), outcome.get("interrupts", outcome)

    def resume(self, interrupt, payload=None, status="resolved", run="r2", **fields):
        entry = {"interruptId": interrupt["id"], "status": status, **({} if payload is None else {"payload": payload})}
        called = {"id": interrupt["id"].partition("/")[0], "role": "assistant", "content": "I pay."}
        return self.post(run, called, resume=[entry], **fields)

    def test_resume(self):
        reply, [interrupt] = self.interrupted()
        frames = frames_of(self.resume(interrupt, {"approved": True}))

        assert (interrupt["reason"], interrupt["toolCallId"]) == ("tool_call", "call_0")
        assert "editedArgs" in interrupt["responseSchema"]["properties"]
        assert frames[0] == {"type": "RUN_STARTED", "threadId": "t", "runId": "r2", "protocolVersion": "1.0"}
        assert (frames[1]["type"], frames[1]["content"]) == ("TOOL_CALL_RESULT", "paid 200")
        assert frames[-1]["outcome"] == {"type": "success"}
        assert outcome(self.ended(reply.pk)) == ("completed", "stop", "")
        assert shop.ledger() == ["pay call_0 200"]

    def test_changed_arguments(self):
        reply, [interrupt] = self.interrupted()
        refused = self.resume(interrupt, {"approved": True, "editedArgs": {"amount": "much"}})
        assert (refused.status, refused.json()["error"]["code"]) == (422, "invalid")
        frames_of(self.resume(interrupt, {"approved": True, "editedArgs": {"amount": 150}}))
        self.ended(reply.pk)

        assert shop.ledger() == ["pay call_0 150"]

    def test_a_denial_and_a_cancellation(self):
        for status, payload in (("resolved", {"approved": False, "reason": "No"}), ("cancelled", None)):
            reply, [interrupt] = self.interrupted(answer="Then not.")
            frames = frames_of(self.resume(interrupt, payload, status))

            assert frames[1]["metadata"] == {"status": "denied"}
            assert results(self.ended(reply.pk))[0][0] == "denied"
            Conversation.objects.all().delete()

        assert shop.ledger() == []

    def test_the_same_resume_again(self):
        reply, [interrupt] = self.interrupted()
        frames_of(self.resume(interrupt, {"approved": True}))
        self.ended(reply.pk)
        again = frames_of(self.resume(interrupt, {"approved": True}))
        other = self.resume(interrupt, {"approved": False})

        assert again[1]["type"] == "TOOL_CALL_RESULT"
        assert (other.status, other.json()["error"]["code"]) == (409, "already_answered")
        assert len(shop.ledger()) == 1

    def test_a_resume_that_does_not_fit(self):
        reply, [first, _second] = self.interrupted(PAY, ("pay", '{"amount": 300}'))
        unknown = {**first, "id": f"{reply.pk}/call_9"}
        for exchange in (
            # Not all of them.
            self.resume(first, {"approved": True}),
            self.resume(unknown, {"approved": True}),
            self.resume({"id": "x"}, {"approved": True}),
            self.resume(first, {"approved": True}, thread="other"),
            self.resume(first, "yes"),
            self.resume(first, {"approved": True}, status="perhaps"),
        ):
            assert (exchange.status, exchange.json()["error"]["code"]) == (422, "invalid")

        assert shop.ledger() == []
        assert LiveReply.objects.get().worker == ""

    def test_stop_with_open_calls(self):
        reply, [interrupt] = self.interrupted()
        assert self.browser.stop(reply.pk).json()["status"] == "stopped"
        refused = self.resume(interrupt, {"approved": True})
        reply = self.ended(reply.pk)
        [told] = [frame for frame in frames_of(self.follow(reply)) if frame["type"] == "TOOL_CALL_RESULT"]

        assert (refused.status, refused.json()["error"]["code"]) == (409, "not_waiting")
        assert told["metadata"] == {"status": "cancelled"}
        assert not unpaired(reply.parts)
        assert shop.ledger() == []

    def follow(self, reply):
        return self.browser.get(f"api/messages/{reply.pk}/events?format=ag_ui")

    def test_another_message_must_wait(self):
        _reply, [interrupt] = self.interrupted()
        refused = self.post("r2", {"id": "n", "role": "user", "content": "Well?"})
        assert (refused.status, refused.json()["error"]["code"]) == (409, "reply_in_progress")
        # The answer would be taken, and the message lost.
        entry = {"interruptId": interrupt["id"], "status": "cancelled"}
        both = self.post("r2", {"id": "n", "role": "user", "content": "Well?"}, resume=[entry])

        assert both.status == 422

    def test_a_tool_of_the_client(self):
        reply, outcome = self.interrupted(LOCATE, answer="You are in Köln.")
        assert outcome == {"type": "success", "pendingToolCallIds": ["call_0"]}
        called = {"id": str(reply.pk), "role": "assistant", "content": "I pay."}
        result = {"id": "x", "role": "tool", "toolCallId": "call_0", "content": "Köln"}
        frames = frames_of(self.post("r2", called, result))

        assert frames[-1]["outcome"] == {"type": "success"}
        assert results(self.ended(reply.pk)) == [("ok", "Köln")]

    def test_the_next_message_comes_after_the_reply(self):
        """Its last text has an id of its own, which the client sends."""
        reply, [interrupt] = self.interrupted()
        frames = frames_of(self.resume(interrupt, {"approved": True}))
        self.ended(reply.pk)
        last = next(frame["messageId"] for frame in reversed(frames) if frame["type"] == "TEXT_MESSAGE_START")
        said = {"id": last, "role": "assistant", "content": "Paid."}
        frames_of(self.post("r3", said, {"id": "n", "role": "user", "content": "Thanks"}))

        assert last == f"{reply.pk}-step-2"
        assert Message.objects.get(text="Thanks").parent_id == reply.pk


class OpenAITests(FormatCase):
    HI = {"role": "user", "content": "Hi"}

    def setUp(self):
        super().setUp()
        self.token = make_token(self.browser.user)

    def post(self, *messages, **body):
        headers = {"Authorization": f"Bearer {self.token}", **body.pop("headers", {})}
        body = {"model": "openai:any", "messages": [*messages], **body}
        return self.browser.post("v1/chat/completions", body, **headers)

    def complete(self, *messages, **body):
        exchange = self.post(*messages, **body)
        assert exchange.status == 200, exchange.json()
        [choice] = exchange.json()["choices"]
        return choice["message"], choice["finish_reason"]

    def test_the_clients_own_tools_are_the_only_ones(self):
        self.provider.script(Script([], tool_calls=[("own", "{}")]))
        own = {"type": "function", "function": {"name": "own"}}
        message, reason = self.complete(self.HI, tools=[own])

        assert (message["tool_calls"][0]["function"]["name"], reason) == ("own", "tool_calls")
        assert [tool["function"]["name"] for tool in self.provider.calls[0].body["tools"]] == ["own"]

    def test_tools_that_the_server_runs_are_not_seen(self):
        for is_streamed in (False, True):
            self.provider.script(Script(["I look."], tool_calls=[("weather", '{"city": "Köln"}')]), Script(["Clear."]))
            if is_streamed:
                deltas = [frame["choices"][0]["delta"] for frame in frames_of(self.post(self.HI, stream=True))]
                message = {"content": "".join(delta.get("content", "") for delta in deltas)}
                assert not any("tool_calls" in delta for delta in deltas)
            else:
                message, reason = self.complete(self.HI)
                assert reason == "stop"

            assert message["content"] == "I look.\n\nClear."
            assert "tool_calls" not in message

    def test_tools_that_the_client_runs(self):
        for is_streamed in (False, True):
            self.script(LOCATE, answer="You are in Köln.")
            if is_streamed:
                chunks = frames_of(self.post(self.HI, stream=True))
                [call] = [call for frame in chunks for call in frame["choices"][0]["delta"].get("tool_calls", [])]
                reason = chunks[-1]["choices"][0]["finish_reason"]
            else:
                message, reason = self.complete(self.HI)
                [call] = message["tool_calls"]
            call = {name: call[name] for name in ("id", "type", "function")}
            assert (call["function"], reason) == ({"name": LOCATE[0], "arguments": LOCATE[1]}, "tool_calls")

            said = {"role": "assistant", "content": "I pay.", "tool_calls": [call]}
            result = {"role": "tool", "tool_call_id": call["id"], "content": "Köln"}
            reply = Message.objects.get(status="waiting")
            if is_streamed:
                chunks = frames_of(self.post(self.HI, said, result, stream=True))
                text = "".join(frame["choices"][0]["delta"].get("content", "") for frame in chunks)
            else:
                text = self.complete(self.HI, said, result)[0]["content"]

            assert text == "\n\nYou are in Köln."
            assert results(self.ended(reply.pk)) == [("ok", "Köln")]
            assert kinds(self.ended(reply.pk))[-2:] == ["step", "text"]
            Conversation.objects.all().delete()

    def say(self, history, content):
        """Say something after a history, run the tools that are called, and return the longer history."""
        history = [*history, {"role": "user", "content": content}]
        while history[-1]["role"] != "assistant":
            message, _reason = self.complete(*history)
            calls = message.get("tool_calls", [])
            results = [{"role": "tool", "tool_call_id": call["id"], "content": f"Place {call['id']}"} for call in calls]
            history += [{**message, "refusal": None}, *results]
        return history

    def test_a_conversation_goes_on_after_calls_of_the_clients_tools(self):
        """Two rounds of calls are one reply, and what the user says then comes after it."""
        self.provider.script(Script(["I look."], tool_calls=[LOCATE, LOCATE]), Script(["Again."], tool_calls=[LOCATE]))
        self.provider.script(Script(["In Köln."]), Script(["You are welcome."], tool_calls=[LOCATE]), Script(["Yes?"]))
        self.provider.script(Script(["Goodbye."]))
        history = self.say([], "Where am I?")
        assert [each["role"] for each in history[1:]] == ["assistant", "tool", "tool", "assistant", "tool", "assistant"]
        history = self.say(self.say(history, "Thanks"), "Bye")
        path = [*Conversation.objects.get().messages.order_by("depth")]

        assert [message.text for message in path] == [
            *("Where am I?", "I look.\n\nAgain.\n\nIn Köln."),
            *("Thanks", "You are welcome.\n\nYes?", "Bye", "Goodbye."),
        ]
        assert results(path[1]) == [("ok", f"Place {call}") for call in ("call_0", "call_1", "call_2_0")]
        assert len(self.provider.calls) == 6

    def test_the_same_results_again(self):
        """An SDK sends a request again if the connection was lost; the reply may have ended since."""
        self.script(LOCATE, answer="In Köln.")
        message, _reason = self.complete(self.HI)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Köln"}
        answers = [self.complete(self.HI, message, result)[0]["content"] for _time in range(2)]
        self.provider.script(Script(["In Bonn."]))
        other, _reason = self.complete(self.HI, message, {**result, "content": "Bonn"})

        assert answers == ["\n\nIn Köln."] * 2
        assert other["content"] == "In Bonn."
        assert Conversation.objects.count() == 2
        assert len(self.provider.calls) == 3

    def test_the_results_of_an_earlier_round_again(self):
        """The reply waits for the results of the next one. What it has called for is said once more."""
        self.provider.script(Script(["I look."], tool_calls=[LOCATE]), Script(["Again."], tool_calls=[LOCATE]))
        message, _reason = self.complete(self.HI)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Köln"}
        first, reason = self.complete(self.HI, message, result)
        chunks = frames_of(self.post(self.HI, message, result, stream=True))
        refused = self.post(self.HI, message, {**result, "content": "Bonn"})

        assert (first["content"], reason) == ("\n\nAgain.", "tool_calls")
        assert self.complete(self.HI, message, result) == (first, reason)
        assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "tool_calls"
        assert (refused.status, refused.json()["error"]["code"]) == (409, "already_answered")
        assert len(self.provider.calls) == 2

    def test_a_result_after_its_reply_was_stopped(self):
        """The call has been cancelled. The history of the client is answered, in a conversation of its own."""
        self.script(LOCATE)
        message, _reason = self.complete(self.HI)
        reply = Message.objects.get(status="waiting")
        assert self.browser.stop(reply.pk).status == 200
        self.ended(reply.pk)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Köln"}
        history = self.say([self.HI, message], "Never mind")

        assert history[-1]["content"] == "Paid."
        assert Message.objects.get(text="Never mind").parent_id == reply.pk
        self.provider.script(Script(["In Köln."]))
        assert self.complete(self.HI, message, result)[0]["content"] == "In Köln."
        assert Conversation.objects.count() == 2

    def test_the_result_of_a_stranger(self):
        self.script(LOCATE)
        message, _reason = self.complete(self.HI)
        self.token = make_token(make_user("stranger"))
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Köln"}
        answer, _reason = self.complete(self.HI, message, result)

        assert answer["content"] == "Paid."
        assert rows(Message.objects.get(status="waiting")) == [("locate", "waiting")]

    def test_an_approval(self):
        """No client of this API can give it. Once it is given elsewhere, the same request has the reply."""
        self.script()
        request = {"headers": {"Idempotency-Key": "once"}}
        refused = self.post(self.HI, **request)
        assert (refused.status, refused.json()["error"]["code"]) == (409, "approval_required")
        assert refused.headers["x-should-retry"] == "false"

        reply = Message.objects.get(status="waiting")
        self.answer(reply).json()
        self.ended(reply.pk)

        assert self.complete(self.HI, headers={"Idempotency-Key": "once"})[0]["content"] == "I pay.\n\nPaid."
        assert len(shop.ledger()) == 1


class ResumeTests(FormatCase):
    def test_at_every_event_of_each_format_that_resumes(self):
        """A reply that has waited: what was read and what follows are the whole stream."""
        reply = self.begin(PAY, ("clock", "{}"))
        self.answer(reply).json()
        reply = self.ended(reply.pk)
        assert kinds(reply).count("tool_result") == 2
        for name in ("simple", "html"):
            whole = self.read(reply, name)
            for number, event in enumerate(whole):
                if event.id != f"{reply.pk}/end":
                    assert self.read(reply, name, event.id) == whole[number + 1 :], (name, event)
        lines = self.lines(reply)
        for number, line in enumerate(lines[:-1]):
            assert self.lines(reply, json.loads(line)["id"]) == lines[number + 1 :]

    def test_formats_without_positions_begin_again(self):
        reply = self.begin()
        self.answer(reply).json()
        reply = self.ended(reply.pk)
        for name in ("ai_sdk", "ag_ui", "openai"):
            whole = self.follow(reply, name)
            for position in range(reply.position + 1):
                assert self.follow(reply, name, f"{reply.pk}/{position}") == whole

    def follow(self, reply, name, last_id=""):
        headers = {"Last_Event_ID": last_id} if last_id else {}
        return self.browser.get(f"api/messages/{reply.pk}/events?format={name}", **headers).body()

    def read(self, reply, name, last_id=""):
        return sse_events(self.follow(reply, name, last_id))

    def lines(self, reply, last_id=""):
        return self.follow(reply, "ndjson", last_id).decode().splitlines()
