"""`HttpAgent` of @ag-ui/client with tools of the site: it resumes from interrupts, and runs tools of its own."""

import json
from typing import Any

from streaming_chat.models import Message
from tests.provider_server import Script
from tests.servers import outcome
from tests.tools import shop
from tests.tools.cases import ToolsCase, results

from .node import headers_of, run_client

PAY = ("pay", '{"amount": 200}')


class AGUIToolTests(ToolsCase):
    def run_thread(self, *texts: Any) -> Any:
        url = f"http://127.0.0.1:{self.server.port}/chat/ai/ag_ui"
        ran = run_client("ag_ui", {"url": url, "headers": headers_of(self.browser.user), "texts": texts})

        assert not any(run.get("error") for run in ran["runs"]), json.dumps(ran["runs"])
        return ran

    def script(self, *calls: tuple[str, str], answer: str) -> None:
        self.provider.script(Script(["I pay."], tool_calls=calls), Script([answer]))

    def test_an_approval_from_end_to_end(self):
        self.script(PAY, answer="Paid.")
        self.provider.script(Script(["You are welcome."]))
        ran = self.run_thread("Pay", {"resume": {"status": "resolved", "payload": {"approved": True}}}, "Thanks")
        first, second, third = (run["finished"] for run in ran["runs"])
        roles = [message["role"] for message in ran["messages"]]
        reply = self.ended(Message.objects.get(parent__text="Pay").pk)

        assert (first["outcome"], first["interrupts"][0]["reason"]) == ("interrupt", "tool_call")
        assert (second["outcome"], third["outcome"]) == ("success", "success")
        assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant"]
        assert ran["messages"][2]["content"] == "paid 200"
        assert "".join(ran["messages"][place]["content"] for place in (1, 3)) == reply.text
        assert outcome(reply) == ("completed", "stop", "")
        assert Message.objects.get(text="Thanks").parent_id == reply.pk
        assert shop.ledger() == ["pay call_0 200"]

    def test_a_denial(self):
        self.script(PAY, answer="Then not.")
        ran = self.run_thread("Pay", {"resume": {"status": "resolved", "payload": {"approved": False, "reason": "No"}}})
        reply = self.ended(Message.objects.get(role="assistant").pk)

        assert ran["messages"][-1]["content"].strip() == "Then not."
        assert results(reply) == [("denied", "The user did not allow this call. The reason given: No")]
        assert shop.ledger() == []

    def test_two_interrupts_that_are_cancelled(self):
        self.script(PAY, PAY, answer="Then not.")
        ran = self.run_thread("Pay", {"resume": {"status": "cancelled"}})
        reply = self.ended(Message.objects.get(role="assistant").pk)

        assert [interrupt["toolCallId"] for interrupt in ran["runs"][0]["finished"]["interrupts"]] == [
            "call_0",
            "call_1",
        ]
        assert [message["role"] for message in ran["messages"]] == ["user", "assistant", "tool", "tool", "assistant"]
        assert [status for status, _output in results(reply)] == ["denied", "denied"]
        assert shop.ledger() == []

    def test_one_reply_that_is_interrupted_twice(self):
        approved = {"resume": {"status": "resolved", "payload": {"approved": True}}}
        self.provider.script(Script(["I pay."], tool_calls=[PAY]), Script(["And again."], tool_calls=[PAY]))
        self.provider.script(Script(["Paid."]), Script(["You are welcome."]))
        ran = self.run_thread("Pay", approved, approved, "Thanks")
        reply = self.ended(Message.objects.get(parent__text="Pay").pk)

        assert [run["finished"]["outcome"] for run in ran["runs"]] == ["interrupt", "interrupt", "success", "success"]
        assert (
            "".join(message["content"] for message in ran["messages"][:6] if message["role"] == "assistant")
            == reply.text
        )
        assert Message.objects.get(text="Thanks").parent_id == reply.pk
        assert len(shop.ledger()) == 2

    def test_changed_arguments(self):
        self.script(PAY, answer="Paid.")
        payload = {"approved": True, "editedArgs": {"amount": 150}}
        self.run_thread("Pay", {"resume": {"status": "resolved", "payload": payload}})
        self.ended(Message.objects.get(role="assistant").pk)

        assert shop.ledger() == ["pay call_0 150"]

    def test_a_tool_of_the_client(self):
        self.script(("locate", "{}"), answer="You are in Köln.")
        ran = self.run_thread("Where am I?", {"output": "Köln"})
        reply = self.ended(Message.objects.get(role="assistant").pk)

        assert ran["runs"][0]["finished"] == {"outcome": "success", "pendingToolCallIds": ["call_0"]}
        assert [message["role"] for message in ran["messages"]] == ["user", "assistant", "tool", "assistant"]
        assert ran["messages"][-1]["content"].strip() == "You are in Köln."
        assert results(reply) == [("ok", "Köln")]

    def test_tools_that_the_server_runs(self):
        """Two calls, whose results come in the order of the calls, and nothing is pending."""
        self.script(("weather", '{"city": "Köln"}'), ("clock", "{}"), answer="Clear.")
        ran = self.run_thread("Weather?")
        self.ended(Message.objects.get(role="assistant").pk)

        assert [message["role"] for message in ran["messages"]] == ["user", "assistant", "tool", "tool", "assistant"]
        assert [message["toolCallId"] for message in ran["messages"][2:4]] == ["call_0", "call_1"]
        assert ran["runs"][0]["finished"] == {"outcome": "success", "pendingToolCallIds": []}
