"""A reader that leaves: by FIN, RST or half-close, at every stage of a reply, under each policy."""

import itertools

from django.test import override_settings

from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.runner import runner
from streaming_chat.models import Message

from .provider_server import Gate, Script
from .servers import Browser, ServerTestCase, held, outcome, received_text, wait_until

DELTAS = ("Hel", "lo ", "wörld")
TEXT = "".join(DELTAS)
WAYS = ("close", "reset", "half")
# Stage -> the gate that holds the reply there, and what had been sent by then.
STAGES = {"before the first word": (0, ""), "in the middle": (2, "Hello "), "after the last word": (3, TEXT)}


class LeaveTests(ServerTestCase):
    def test_without_a_grace_the_reply_stops(self):
        with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0):
            self.leave_everywhere(self.browser.send, goes_on=False)

    def test_after_its_grace_the_reply_stops(self):
        with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=1):
            self.leave_everywhere(self.browser.send, goes_on=False)

    def test_without_a_policy_the_reply_goes_on_to_its_end(self):
        with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=None):
            self.leave_everywhere(self.browser.send, goes_on=True)

    def test_closing_is_the_stop_of_a_stateless_client(self):
        def chat(content):
            return self.browser.post("api/chat", {"messages": [{"role": "user", "content": content}]})

        self.leave_everywhere(chat, goes_on=False)

    def test_a_client_may_ask_to_be_the_only_reader(self):
        with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=None):
            self.leave_everywhere(lambda content: self.browser.send(content, disconnect="stop"), goes_on=False)

    def test_leaving_at_once_leaves_a_whole_reply_or_none(self):
        """The server may not even have read the request; whatever it began is whole, or stopped."""
        for grace in (0, None):
            with self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=grace):
                for how in WAYS * 3:
                    self.browser.send(f"{how} {grace}").leave(how)
        # A request that is answered was taken after all of them.
        self.browser.send("last").rest()
        wait_until(lambda: not runner.live)

        for reply in Message.objects.filter(role="assistant").select_related("parent"):
            with self.subTest(reply.parent.text):
                calls = [call for call in self.provider.calls if call.prompt == reply.parent.text]

                assert outcome(reply) in (("completed", "stop", ""), ("stopped", "disconnect", ""))
                assert not calls or "".join(calls[0].script.deltas).startswith(received_text(reply))

    def leave_everywhere(self, send, *, goes_on: bool) -> None:
        """Leave replies in every way at every stage, all at once, and look at what became of them."""
        gates = {}
        exchanges = {}
        for how, stage in itertools.product(WAYS, STAGES):
            number, _sent = STAGES[stage]
            gates[how, stage] = gate = Gate()
            self.provider.by_text[f"{how} {stage}"] = Script(DELTAS, gates={number: gate})
            exchanges[how, stage] = send(f"{how} {stage}")
        with held(*gates.values()):
            for (how, stage), exchange in exchanges.items():
                gates[how, stage].wait_reached()
                exchange.until(lambda exchange=exchange: exchange.frames).until_text(STAGES[stage][1])
                exchange.leave(how)
            if not goes_on:
                self.check(exchanges, goes_on=False)
            wait_until(lambda: not access_guard.count)
        self.check(exchanges, goes_on=goes_on)

    def check(self, exchanges, *, goes_on: bool) -> None:
        for (how, stage), exchange in exchanges.items():
            with self.subTest(f"{how} {stage}"):
                reply = self.ended(exchange.message_id)
                call = next(call for call in self.provider.calls if call.prompt == f"{how} {stage}")
                self.provider.wait_for(lambda call=call: call.ended)

                assert outcome(reply) == (("completed", "stop", "") if goes_on else ("stopped", "disconnect", ""))
                assert reply.text == received_text(reply) == (TEXT if goes_on else STAGES[stage][1])
                assert call.text == reply.text
                assert call.closed_early != goes_on


class ReturnTests(ServerTestCase):
    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=1)
    def test_a_reader_that_comes_back_in_time_finds_the_reply_going_on(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            first = self.browser.send("Hello").until_text("Hello ")
            first.leave("reset")
            wait_until(lambda: not access_guard.count)
            second = self.browser.follow(first.message_id).until_text("Hello ")
            run = runner.find(first.message_id)
            # Its grace would have passed: the writer asks at each flush, 0.1 s apart.
            assert not run.ended.wait(1.5)
            assert not run.is_unfollowed
            gate.open()
            second.rest()

        assert second.text == TEXT
        assert outcome(self.ended(first.message_id)) == ("completed", "stop", "")

    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0)
    def test_one_reader_is_enough(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            first = self.browser.send("Hello").until_text("Hello ")
            second = self.browser.follow(first.message_id).until_text("Hello ")
            first.leave("close")
            wait_until(lambda: access_guard.count == 1)
            gate.open()
            second.rest()

        assert second.text == TEXT
        assert outcome(self.ended(first.message_id)) == ("completed", "stop", "")

    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0)
    def test_two_readers_that_leave_stop_it_once(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            first = self.browser.send("Hello").until_text("Hello ")
            second = Browser(self.server.port).follow(first.message_id).until_text("Hello ")
            first.leave("reset")
            second.leave("half")

            assert outcome(self.ended(first.message_id)) == ("stopped", "disconnect", "")

    def test_the_end_of_a_stop_comes_to_a_reader_that_has_left_and_come_back(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(DELTAS, gates={2: gate}))
            first = self.browser.send("Hello").until_text("Hello ")
            first.leave("close")
            self.browser.stop(first.message_id).json()
            second = self.browser.follow(first.message_id, first.frames[-1].id).rest()

        assert [frame.event for frame in second.frames] == ["stopped", "message"]
