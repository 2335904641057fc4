"""Coming back to a reply: from any event, live or finished, in this process or another; nothing lost, nothing repeated."""

import json
import threading
import uuid
from datetime import timedelta

from django.db import OperationalError
from django.db.models.functions import Now

from streaming_chat.models import LiveReply
from streaming_chat.protocol.events import REASONING, START, TEXT, TOOL_CALL, Event, merge

from .factories import make_conversation, make_live, make_steady
from .provider_server import Gate, Script
from .servers import Exchange, ServerTestCase, held, outcome, wait_until

DELTAS = ("Hel", "lo ", "wörld", " 😀", "\n\n", "1 < 2", " &amp;", " fin")
WHOLE = "".join(DELTAS)
REASONINGS = ("Let me ", "think 🤔.")


def events_of(*exchanges: Exchange, seen: int | None = None) -> list[Event]:
    """Return what a reader that came back with each of these was told, merged; a reset takes all back.

    seen: how many frames of the first it had read when it left.
    """
    told: list[Event] = []
    frames = [frame for exchange in exchanges for frame in exchange.frames]
    if seen is not None:
        del frames[seen : len(exchanges[0].frames)]
    for frame in (frame for frame in frames if frame.data != "[DONE]"):
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
