"""The provider's opaque state in a reply with tools: sent back as it was until the reply has ended, and never after."""

import json

from streaming_chat.models import Message, ProviderState
from tests.provider_server import Script

from .cases import ToolsCase, waiting

SIGNED = "EqoBrosebud+/7f3a91=="
THINKING = {"type": "thinking", "thinking": "Hm. é\u2028", "signature": SIGNED}
REDACTED = {"type": "redacted_thinking", "data": f"\ud83d {SIGNED}"}
REASONING = {"type": "reasoning", "id": "rs_1", "encrypted_content": SIGNED, "summary": []}


def sse(*payloads):
    return Script(raw="".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in payloads).encode())


def anthropic(name, arguments="{}"):
    """Return a reply with thoughts, a text and a call."""
    tool = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    blocks = [THINKING, REDACTED, {"type": "text", "text": "I look."}, tool]
    payloads = [{"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}}]
    for index, block in enumerate(blocks):
        payloads.append({"type": "content_block_start", "index": index, "content_block": dict(block)})
        if block is tool:
            delta = {"type": "input_json_delta", "partial_json": arguments}
            payloads.append({"type": "content_block_delta", "index": index, "delta": delta})
        payloads.append({"type": "content_block_stop", "index": index})
    payloads.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}})
    return sse(*payloads, {"type": "message_stop"})


def responses(name, arguments="{}"):
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": arguments}
    return sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
        {"type": "response.output_item.done", "output_index": 1, "item": {**call, "status": "completed"}},
        {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}},
    )


class StateTests(ToolsCase):
    def sent(self):
        return self.provider.calls[-1].body

    def continue_in(self, reply):
        self.browser.post(f"api/conversations/{reply.conversation_id}/messages", {"content": "And?"}).rest()

    def test_thoughts_go_back_where_they_were(self):
        self.provider.script(anthropic("clock"), Script(["Noon."]))
        reply = self.ask(model="anthropic:any")

        assert reply.text == "I look.\n\nNoon."
        content = self.sent()["messages"][-2]["content"]
        assert content == [
            THINKING,
            REDACTED,
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}},
        ]

        self.continue_in(reply)

        assert SIGNED not in json.dumps(self.sent())

    def test_reasoning_goes_back_with_its_call(self):
        self.provider.script(responses("clock"), Script(["Noon."]))
        reply = self.ask(model="responses:any")
        reasoning, call, output = self.sent()["input"][-3:]

        assert reasoning == REASONING
        assert (call["id"], call["call_id"], output["call_id"]) == ("fc_1", "call_1", "call_1")

        self.continue_in(reply)

        assert SIGNED not in json.dumps(self.sent())
        assert next(item for item in self.sent()["input"] if item.get("type") == "function_call").get("id") is None

    def test_it_outlives_a_wait(self):
        for model, script in (("anthropic:any", anthropic), ("responses:any", responses)):
            with self.subTest(model):
                self.provider.script(script("pay", '{"amount": 200}'), Script(["Paid."]))
                exchange = self.browser.send("Pay", model=model)
                exchange.until(lambda exchange=exchange: exchange.frames and exchange.frames[-1].event == "approval")
                reply = waiting(exchange.message_id)

                assert SIGNED in ProviderState.objects.get(message=reply).state

                call = next(part for part in exchange.frames if part.event == "tool_call").data["tool_call"]["id"]
                answer = {"answers": [{"call": call, "approved": True}]}
                self.browser.post(f"api/messages/{reply.pk}/answers", answer).json()
                reply = self.ended(reply.pk)

                assert Message.objects.get(pk=reply.pk).status == "completed"
                assert SIGNED in json.dumps(self.sent())
