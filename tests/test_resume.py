"""Coming back to a reply: from any event, live or finished, in this process or another; nothing lost, nothing repeated."""

import json
import threading
import uuid
from datetime import timedelta

from django.db import OperationalError
from django.db.models.functions import Now

from streaming_chat.events import REASONING, START, TEXT, TOOL_CALL, Event, merge
from streaming_chat.models import LiveReply
from streaming_chat.writer import writer

from .factories import make_conversation, make_live, make_steady
from .provider_server import Gate, Script
from .servers import Browser, Exchange, ProcessServer, ServerTestCase, held, outcome, received_text, site, wait_until

DELTAS = ("Hel", "lo ", "wörld", " 😀", "\n\n", "1 < 2", " &amp;", " fin")
WHOLE = "".join(DELTAS)
REASONINGS = ("Let me ", "think 🤔.")


def events_of(*exchanges: Exchange) -> list[Event]:
    """Return what a reader that came back with each of these was told, merged; a reset takes all back."""
    told: list[Event] = []
    for frame in (frame for exchange in exchanges for frame in exchange.frames if frame.data != "[DONE]"):
        data = frame.data
        match frame.event:
            case "message":
                told.append(Event(TEXT, data["text"]))
            case "reasoning":
                told.append(Event(REASONING, data["reasoning"]))
            case "tool_call":
                told.append(Event(TOOL_CALL, data["tool_call"]))
            case "reset":
                told.clear()
            case name:
                told.append(Event(START if name == "start" else "end", data))
    return list(merge(told))


class ResumeCase(ServerTestCase):
    def script(self, **options) -> None:
        self.provider.script(
            Script(DELTAS, reasoning=REASONINGS, tool_calls=[("weather", '{"in":"Lisbon"}')], **options)
        )


class FinishedTests(ResumeCase):
    def setUp(self):
        super().setUp()
        self.script()
        self.first = self.browser.send("Hello").rest()
        self.id = self.first.message_id
        self.whole = events_of(self.first)

    def test_a_finished_reply_replays_as_it_came(self):
        assert events_of(self.browser.follow(self.id).rest()) == self.whole

    def test_every_position_is_one_to_go_on_from(self):
        length = self.ended(self.id).position
        texts = []
        for position in range(length + 1):
            exchange = self.browser.follow(self.id, f"{self.id}/{position}").rest()
            texts.append(exchange.text)
            assert len(exchange.endings) == 1
            assert exchange.frames[0].event != "reset"
            exchange.close()
        begin = 1 + len("".join(REASONINGS))

        assert texts[: begin + 1] == [WHOLE] * (begin + 1)
        assert texts[begin:] == [WHOLE[at:] for at in range(len(WHOLE) + 1)] + [""]

    def test_zero_is_from_the_beginning(self):
        assert events_of(self.browser.follow(self.id, f"{self.id}/0").rest()) == self.whole

    def test_after_the_ending_there_is_nothing(self):
        assert self.browser.follow(self.id, f"{self.id}/end").status == 204

    def test_what_is_no_id_of_this_reply_is_refused(self):
        for wrong in (
            "x",
            f"{self.id}/x",
            f"{self.id}/-1",
            f"{self.id}/1.5",
            f"{self.id}/",
            f"{uuid.uuid4()}/3",
            "9" * 30,
        ):
            with self.subTest(wrong):
                answer = self.browser.follow(self.id, wrong)

                assert answer.status == 422
                assert answer.json()["error"]["code"] == "invalid"

    def test_a_position_past_what_there_is_begins_again(self):
        exchange = self.browser.follow(self.id, f"{self.id}/999").rest()

        assert exchange.frames[0].raw == f'id: {self.id}/0\nevent: reset\ndata: {{"text":""}}\n\n'.encode()
        assert events_of(exchange) == self.whole

    def test_the_header_wins_over_the_address(self):
        """An EventSource reconnects with its old address, and the header of where it is."""
        late = self.ended(self.id).position - 2
        exchange = self.browser.get(
            f"api/messages/{self.id}/events?after={self.id}/2", Last_Event_ID=f"{self.id}/{late}"
        )
        alone = self.browser.get(f"api/messages/{self.id}/events?after={late}")

        assert exchange.rest().text == WHOLE[-1:]
        assert alone.rest().text == WHOLE[-1:]


class LiveTests(ResumeCase):
    def test_a_client_that_is_cut_at_every_event_misses_nothing(self):
        gates = {number: Gate() for number in range(len(DELTAS) + 1)}
        visits = []
        with held(*gates.values()):
            self.script(gates=gates)
            exchange = self.browser.send("Hello")
            exchange.until(lambda: exchange.frames)
            reply = exchange.message_id
            for number, gate in gates.items():
                visits.append(exchange)
                exchange.leave("reset" if number % 2 else "close")
                gate.open()
                exchange = self.browser.follow(reply, exchange.frames[-1].id)
                if number < len(DELTAS):
                    exchange.until(lambda exchange=exchange: exchange.text)
            visits.append(exchange.rest())
        message = self.ended(reply)

        assert "".join(visit.text for visit in visits) == message.text == WHOLE
        assert events_of(*visits) == events_of(self.browser.follow(reply).rest())
        assert sum(len(visit.endings) for visit in visits) == 1

    def test_every_position_is_one_to_go_on_from_while_it_is_written(self):
        gate = Gate()
        with held(gate):
            self.script(gates={len(DELTAS): gate})
            first = self.browser.send("Hello").until_text(WHOLE)
            reply, position = first.message_id, first.frames[-1].position
            begin = position - len(WHOLE)
            visits = {at: self.browser.follow(reply, f"{reply}/{at}") for at in range(position + 1)}
            for at, visit in visits.items():
                if at < position:
                    visit.until_text(WHOLE[max(at - begin, 0) :])
            gate.open()

            assert [visit.rest().text for visit in visits.values()] == [
                WHOLE[max(at - begin, 0) :] for at in range(position + 1)
            ]
            assert all(len(visit.endings) == 1 for visit in visits.values())

    def test_a_position_past_what_there_is_begins_again(self):
        gate = Gate()
        with held(gate):
            self.script(gates={3: gate})
            first = self.browser.send("Hello").until_text("Hello wörld")
            second = self.browser.follow(first.message_id, f"{first.message_id}/999").until_text("Hello wörld")
            gate.open()

        assert second.frames[0].event == "reset"
        assert events_of(second.rest()) == events_of(first.rest())

    def test_ten_readers_at_once_are_told_the_same(self):
        gates = {number: Gate() for number in (0, 2, 5)}
        with held(*gates.values()):
            self.script(gates=gates)
            readers = [self.browser.send("Hello")]
            readers[0].until(lambda: readers[0].frames)
            for gate in gates.values():
                gate.wait_reached()
                readers += [self.browser.follow(readers[0].message_id) for _ in range(3)]
                gate.open()
            told = [events_of(reader.rest()) for reader in readers]

        assert len(told) == 10
        assert all(one == told[0] for one in told)
        assert all(reader.frames[-1].data == "[DONE]" and len(reader.endings) == 1 for reader in readers)

    def test_a_repeated_send_goes_on_where_its_client_was(self):
        gate = Gate()
        with held(gate):
            self.script(gates={2: gate})
            first = self.browser.send("Hello", client_id="once").until_text("Hello ")
            first.leave("reset")
            again = self.browser.post(
                "api/messages", {"content": "Hello", "client_id": "once"}, Last_Event_ID=first.frames[-1].id
            )
            gate.open()
            again.rest()

        assert first.text + again.text == WHOLE
        assert len(self.provider.calls) == 1


class OtherProcessTests(ResumeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls.enterClassContext(ProcessServer(site(cls.provider)))

    def setUp(self):
        super().setUp()
        self.elsewhere = Browser(self.other.port)
        self.addCleanup(self.elsewhere.close)

    def test_a_reader_in_another_process_follows_to_the_ending(self):
        gates = {number: Gate() for number in (2, 5)}
        with held(*gates.values()):
            self.script(gates=gates)
            here = self.browser.send("Hello").until_text("Hello ")
            there = self.elsewhere.follow(here.message_id).until_text("Hello ")
            late = self.elsewhere.follow(here.message_id, here.frames[-1].id)
            gates[2].open()
            there.until_text("".join(DELTAS[:5]))
            gates[5].open()
            here.rest()

        assert events_of(there.rest()) == events_of(here)
        assert late.rest().text == WHOLE[len("Hello ") :]
        assert len(there.endings) == len(late.endings) == 1

    def test_a_position_that_is_not_saved_yet_is_waited_for(self):
        """The process that writes has given it out; the tail lags behind by up to FLUSH_SECONDS."""
        gate = Gate()
        with held(gate), self.settings(STREAMING_CHAT_FLUSH_SECONDS=1):
            self.script(gates={2: gate})
            here = self.browser.send("Hello").until_text("Hello ")
            there = self.elsewhere.follow(here.message_id, here.frames[-1].id)
            assert there.status == 200
            gate.open()

            assert there.rest().text == WHOLE[len("Hello ") :]
            assert all(frame.event != "reset" for frame in there.frames)

    def test_a_stop_from_another_process_ends_it(self):
        gate = Gate()
        with held(gate):
            self.script(gates={2: gate})
            here = self.browser.send("Hello").until_text("Hello ")
            answer = self.elsewhere.stop(here.message_id)
            shape = answer.json()
            here.rest()

        assert (answer.status, shape["status"], shape["text"]) == (200, "stopped", "Hello ")
        assert here.endings[0].event == "stopped"
        assert self.provider.calls[0].closed_early

    def test_readers_everywhere_take_back_what_a_stop_cut_off(self):
        gate = Gate()
        with held(gate):
            self.script(gates={2: gate})
            here = self.browser.send("Hello").until_text("Hello ")
            there = self.elsewhere.follow(here.message_id).until_text("Hello ")
            position = here.frames[-1].position - 2
            self.elsewhere.stop(here.message_id, position=position).json()
            here.rest()
            there.rest()
        message = self.ended(here.message_id)

        assert received_text(message) == "Hello "
        assert here.text == there.text == message.text == "Hell"
        assert here.endings[0].data == there.endings[0].data

    def test_a_reader_in_another_process_keeps_a_reply_alive(self):
        gate = Gate()
        with held(gate), self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0):
            self.script(gates={2: gate})
            here = self.browser.send("Hello").until_text("Hello ")
            there = self.elsewhere.follow(here.message_id).until_text("Hello ")
            here.leave("close")
            run_is_deserted(here.message_id)
            gate.open()

            assert there.rest().text == WHOLE
            assert outcome(self.ended(here.message_id))[0] == "completed"


class UnsteadyRouter:
    """Has no database for the follower at every second look."""

    looks = 0

    def db_for_write(self, model, **hints):
        if threading.current_thread().name == "streaming_chat.follower":
            type(self).looks += 1
            if type(self).looks % 8 < 4:
                raise OperationalError("away")


class TailTests(ServerTestCase):
    def test_a_reader_outlives_a_database_that_is_away_for_a_while(self):
        live = make_live(make_conversation(self.browser.user), Event(TEXT, "Hello"))
        with self.settings(DATABASE_ROUTERS=["tests.test_resume.UnsteadyRouter"]):
            exchange = self.browser.follow(live.pk).until_text("Hello")
            wait_until(lambda: UnsteadyRouter.looks > 8)
            LiveReply.objects.filter(pk=live.pk).update(expires_at=Now() - timedelta(seconds=1))
            wait_until(lambda: make_steady() or LiveReply.objects.count() == 0)
            exchange.rest()

        assert exchange.text == "Hello"
        assert exchange.endings[0].data["end_reason"] == "lease_expired"

    def test_a_reader_settles_the_reply_of_a_dead_worker(self):
        live = make_live(make_conversation(self.browser.user), Event(TEXT, "Hello"), expires=-1)
        make_steady()
        exchange = self.browser.follow(live.pk).rest()

        assert exchange.text == "Hello"
        assert outcome(self.ended(live.pk)) == ("interrupted", "lease_expired", "lease_expired")
        assert json.loads(exchange.frames[-2].raw.split(b"data: ")[1])["error"]["retryable"] is True


def run_is_deserted(message_id: uuid.UUID) -> None:
    """Wait until the writer has asked whether anybody follows elsewhere."""
    run = wait_until(lambda: next((run for run in writer._runs.values() if run.message_id == message_id), None))
    wait_until(lambda: run.is_deserted)
    assert not run.ended.wait(0.5)
