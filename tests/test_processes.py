"""Two processes, one database: each follows, resumes and stops what the other writes, with any notifier."""

import uuid
from typing import Any

from django.db import connection
from django.test import override_settings

from streaming_chat.engine.runner import runner

from .database import database_url
from .provider_server import Gate
from .servers import Browser, ProcessServer, held, outcome, received_text, site, wait_until
from .test_resume import DELTAS, WHOLE, ResumeCase, events_of
from .valkey import Valkey


class TwoProcesses(ResumeCase):
    """`browser` talks to this process, `elsewhere` to another one. notifier: how they learn of each other's replies."""

    named: dict[str, Any] = {}

    @classmethod
    def notifier(cls) -> dict[str, Any]:
        """Return STREAMING_CHAT_NOTIFIER."""
        return {"BACKEND": "streaming_chat.notifiers.polling.PollingNotifier"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        named = {"STREAMING_CHAT_NOTIFIER": cls.notifier(), **cls.named}
        cls.enterClassContext(override_settings(**named))
        cls.other = cls.enterClassContext(ProcessServer({**site(cls.provider), **named}))

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere = Browser(self.other.port, self.browser.user)
        self.addCleanup(self.elsewhere.close)


class DatabaseTests(TwoProcesses):
    """With PollingNotifier: by reading the database alone."""

    def test_it_goes_on_elsewhere_at_every_event(self):
        gates = {number: Gate() for number in range(1, len(DELTAS))}
        resumed = []
        with held(*gates.values()):
            self.script(gates=gates)
            here = self.browser.send("Hello")
            for number in range(1, len(DELTAS)):
                here.until_text("".join(DELTAS[:number]))
                there = self.elsewhere.follow(here.message_id, here.frames[-1].id)
                # Its head says that the reply was found, while it is written.
                assert there.status == 200
                resumed.append((len(here.frames), there))
                gates[number].open()
            here.rest()

        assert len(resumed) == len(DELTAS) - 1
        for seen, there in resumed:
            assert there.rest().endings[0].data == here.endings[0].data
            assert events_of(here, there, seen=seen) == events_of(here)

    def test_a_reload_elsewhere_keeps_it_alive_under_a_short_grace(self):
        gate = Gate()
        with held(gate), self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=2):
            self.script(gates={2: gate})
            here = self.browser.send("Hello").until_text("Hello ")
            here.leave("close")
            there = self.elsewhere.follow(here.message_id).until_text("Hello ")
            wait_until_unfollowed(here.message_id)
            gate.open()

            assert there.rest().text == WHOLE
            assert outcome(self.ended(here.message_id)) == ("completed", "tool_calls", "")

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
        """The process that writes has given it out; the follower lags behind by up to FLUSH_SECONDS."""
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
            wait_until_unfollowed(here.message_id)
            gate.open()

            assert there.rest().text == WHOLE
            assert outcome(self.ended(here.message_id))[0] == "completed"


def wait_until_unfollowed(message_id: uuid.UUID) -> None:
    """Wait until the writer has asked whether another process follows the reply."""
    run = wait_until(lambda: runner.find(message_id))
    wait_until(lambda: run.is_unfollowed)
    assert not run.ended.wait(0.5)


class RedisTests(DatabaseTests):
    """The same with RedisNotifier."""

    @classmethod
    def notifier(cls) -> dict[str, Any]:
        """Return STREAMING_CHAT_NOTIFIER."""
        cls.valkey = cls.enterClassContext(Valkey())
        return {"BACKEND": "streaming_chat.notifiers.redis.RedisNotifier", "OPTIONS": {"url": cls.valkey.url}}


class NotifyTests(DatabaseTests):
    """The same with PostgresNotifier, which does nothing on SQLite, and does no harm."""

    @classmethod
    def notifier(cls) -> dict[str, Any]:
        """Return STREAMING_CHAT_NOTIFIER."""
        dsn = database_url() if connection.vendor == "postgresql" else "postgres://nobody@127.0.0.1:1/nothing"
        return {"BACKEND": "streaming_chat.notifiers.postgres.PostgresNotifier", "OPTIONS": {"listen_dsn": dsn}}
