"""SIGKILL while a write runs, and around it: it runs at most once, and the conversation goes on.

`python -m tests.chaos.kills` kills workers at more points, many times, on PostgreSQL.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from streaming_chat.models import Message, ToolCall
from tests.provider_server import Gate, Script
from tests.servers import Browser, ProcessServer, site, wait_until

from . import shop
from .cases import SETTINGS, ToolsCase, results, unpaired

LEASE_SECONDS = 1.0


class Round:
    """One reply, and the server that is killed while it writes it."""

    def __init__(self, case: Any, number: int, tool: str = "refund") -> None:
        self.case, self.order, self.gates = case, number, (Gate(), Gate(), Gate())
        received, called, answered = self.gates
        call = (tool, json.dumps({"order": number, "amount": "10.00"}))
        case.provider.clear()
        case.provider.script(
            Script(["I ", "refund."], tool_calls=[call], gates={1: received, 2: called}),
            Script(["Done", " it."], gates={1: answered}),
        )

    def begin(self, browser: Browser) -> None:
        self.exchange = browser.send("Refund", model="openai:any")
        self.exchange.until(lambda: self.exchange.frames)

    @property
    def message_id(self) -> Any:
        return self.exchange.message_id

    def has_row(self, *states: str) -> bool:
        return ToolCall.objects.filter(message=self.message_id, status__in=states).exists()

    def has_noted(self, what: str) -> bool:
        return any(line.startswith(f"{what} {self.order}") for line in shop.ledger())

    def open(self, *gates: int) -> None:
        for gate in gates:
            self.gates[gate].open()


# (how many gates are open, until what is waited before the kill)
Point = tuple[tuple[int, ...], Callable[[Round], object]]
POINTS: dict[str, Point] = {
    "call running": ((0, 1), lambda reply: reply.has_row("running", "ok")),
    "tool begun": ((0, 1), lambda reply: reply.has_noted("begin")),
    "tool done": ((0, 1), lambda reply: reply.has_noted("refund")),
    "asked again": ((0, 1), lambda reply: len(reply.case.provider.calls) == 2),
}


class KilledTests(ToolsCase):
    def setUp(self):
        super().setUp()
        os.environ["SHOP_SECONDS"] = "0.2"
        self.addCleanup(os.environ.pop, "SHOP_SECONDS")
        named = {
            **site(self.provider),
            **SETTINGS,
            "STREAMING_CHAT_LEASE_SECONDS": LEASE_SECONDS,
            "STREAMING_CHAT_FLUSH_SECONDS": 0.05,
        }
        self.named = named
        self.survivor = self.enterContext(ProcessServer(named))
        self.witness = Browser(self.survivor.port, self.browser.user)
        self.addCleanup(self.witness.close)

    def test_a_write_runs_at_most_once(self):
        for number, (name, (gates, condition)) in enumerate(POINTS.items()):
            with self.subTest(name), ProcessServer(self.named) as server:
                browser = Browser(server.port, self.browser.user)
                killed = Round(self, number)
                killed.begin(browser)
                killed.open(*gates)
                wait_until(lambda killed=killed, condition=condition: condition(killed), 30)
                server.kill()
                killed.open(0, 1, 2)
                browser.close()
                self.check(killed)

    def test_an_approved_write_runs_at_most_once(self):
        """Killed while it waits, which does no harm; answered at another process, and killed there."""
        killed = Round(self, 1000, "approved_refund")
        killed.open(0, 1)
        with ProcessServer(self.named) as first:
            browser = Browser(first.port, self.browser.user)
            killed.begin(browser)
            wait_until(lambda: Message.objects.get(pk=killed.message_id).status == "waiting")
            first.kill()
            browser.close()
        with ProcessServer(self.named) as second:
            browser = Browser(second.port, self.browser.user)
            answer = {"answers": [{"call": "call_0", "approved": True}]}
            assert browser.post(f"api/messages/{killed.message_id}/answers", answer).status == 200
            wait_until(lambda: killed.has_noted("begin"))
            second.kill()
            browser.close()
        killed.open(2)
        self.check(killed)

        assert ToolCall.objects.get().status == "unknown"

    def test_an_idempotent_write_runs_again(self):
        """In another process, with the same key; the model gets its result, and the reply is completed."""
        killed = Round(self, 2000, "keyed_refund")
        killed.open(0, 1, 2)
        with ProcessServer(self.named) as server:
            browser = Browser(server.port, self.browser.user)
            killed.begin(browser)
            wait_until(lambda: killed.has_noted("begin"))
            server.kill()
            browser.close()
        self.witness.follow(killed.message_id).rest()
        reply = self.ended(killed.message_id)
        keys = [line for line in shop.ledger() if line.startswith("key ")]

        assert (reply.status, reply.text) == ("completed", "I refund.\n\nDone it.")
        assert keys == [f"key {reply.pk}/call_0"] * 2
        assert results(reply) == [("ok", "refunded 2000")]
        assert ToolCall.objects.get().runs == 2

    def check(self, killed):
        """Look at the reply, which another process has ended, and go on in its conversation."""
        self.witness.follow(killed.message_id).rest()
        reply = self.ended(killed.message_id)
        begun = [line for line in shop.ledger() if line == f"begin {killed.order}"]
        row = ToolCall.objects.filter(message=reply).first()

        assert len(begun) <= 1
        assert reply.status in ("interrupted", "failed")
        assert not unpaired(reply.parts)
        assert row is None or not row.is_open
        assert row is None or row.status != "cancelled" or not begun
        if row and row.status == "unknown":
            assert "not known whether" in results(reply)[0][1]

        path = f"api/conversations/{reply.conversation_id}/messages"
        later = self.witness.post(path, {"content": "And?"}).rest()

        assert later.endings[0].event == "done"
