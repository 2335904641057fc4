"""Stop at every event of a reply with tools, and what becomes of the calls: each has a result, whatever it was doing."""

from functools import partial

from tests.provider_server import Gate, Script
from tests.servers import held, outcome, wait_until

from . import shop
from .cases import ToolsCase, results, rows, unpaired


class StopTests(ToolsCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(shop.gate.set)

    def continues(self, reply):
        """Send once more in the conversation, at a provider that refuses calls without a result."""
        self.provider.script(Script(["Yes."]))
        path = f"api/conversations/{reply.conversation_id}/messages"
        later = self.browser.post(path, {"content": "Go on"}).rest()

        assert later.endings[0].event == "done"

    def test_while_a_tool_runs(self):
        """Both calls get a result: the one that runs, and the one that has run, whose result waits for the first."""
        self.provider.script(Script(["I look."], tool_calls=[("held", '{"name": "a"}'), ("clock", "{}")]))
        exchange = self.browser.send("Hello", model="openai:any")
        exchange.until(lambda: [frame.event for frame in exchange.frames].count("tool_call") == 2)
        wait_until(shop.begun.is_set)
        self.browser.stop(exchange.message_id).json()
        reply = self.ended(exchange.message_id)

        assert outcome(reply) == ("stopped", "user", "")
        assert shop.cancelled.wait(5)
        assert [status for status, _text in results(reply)][:1] == ["cancelled"]
        assert "may have had its effect" in results(reply)[0][1]
        assert not unpaired(reply.parts)
        assert {status for _name, status in rows(reply)} <= {"cancelled", "ok"}
        assert len(self.provider.calls) == 1
        self.continues(reply)

    def test_at_every_event(self):
        """A stop names the position that its user has seen, and cuts no result off."""
        whole = [(["I look."], [("weather", '{"city": "Köln"}'), ("clock", "{}")]), (["All", " clear."], [])]
        for number in range(8):
            with self.subTest(number=number):
                gate = Gate()
                scripts = [Script(deltas, tool_calls=calls) for deltas, calls in whole]
                scripts[1].gates = {1: gate}
                self.provider.clear()
                self.provider.script(*scripts)
                with held(gate):
                    exchange = self.browser.send("Hello", model="openai:any")
                    exchange.until(partial(has_frames, exchange, number + 1))
                    seen = exchange.frames[number].id
                    self.browser.stop(exchange.message_id, position=seen).json()
                reply = self.ended(exchange.message_id)
                shown = self.browser.get(f"api/messages/{reply.pk}").json()["parts"]

                assert outcome(reply)[0] in ("stopped", "completed")
                assert not unpaired(reply.parts)
                assert not unpaired(shown)
                self.continues(reply)

    def test_while_the_call_is_received(self):
        gate = Gate()
        self.provider.script(Script(["I look."], tool_calls=[("refund", '{"order": 1, "amount": 2}')], gates={1: gate}))
        with held(gate):
            exchange = self.browser.send("Hello", model="openai:any").until_text("I look.")
            self.browser.stop(exchange.message_id).json()
        reply = self.ended(exchange.message_id)

        assert outcome(reply) == ("stopped", "user", "")
        assert shop.ledger() == []
        assert not unpaired(reply.parts)
        self.continues(reply)


def has_frames(exchange, count):
    return len(exchange.frames) >= count
