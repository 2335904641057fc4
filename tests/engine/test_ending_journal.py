"""Endings that wait for the database in a folder: written completely, and replayed once by any process."""

import json
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

from django.db import connections
from django.db.models.functions import Now
from django.test import SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat.db.uuid7 import uuid7
from streaming_chat.engine.completion import Completion
from streaming_chat.engine.ending_journal import Journal, Record
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.notifiers import Notifier
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event
from tests.factories import make_conversation, make_live
from tests.servers import outcome
from tests.test_private_files import SystemCalls

NOT_SAVED = Ending(endings.INTERRUPTED, "not_saved", "not_saved")
COMPLETED = Ending(endings.COMPLETED, "stop")
WEATHER = Event(TOOL_CALL, {"id": "1", "name": "weather", "arguments": "{}", "complete": True})
USAGE = {"finish_reason": "end_turn", "input_tokens": 7, "output_tokens": 4, "tokens_estimated": False}


def make_record(*texts: str, expires: float = 60, **changes) -> Record:
    """Return a record of a live reply, of which "It" is saved."""
    live = make_live(make_conversation(), Event(TEXT, "It"), worker="me", expires=expires)
    received = [Event(TEXT, text) for text in texts]
    fields = {**USAGE, "model": "demo:demo"}
    completion = Completion(live.message_id, live.conversation_id, "me", NOT_SAVED, received, fields)
    return Record(replace(completion, **changes), COMPLETED)


def make_file(folder: str, *texts: str, **fields) -> Record:
    """Write the record of a live reply into the folder."""
    record = make_record(*texts, **fields)
    with override_settings(STREAMING_CHAT_JOURNAL_DIR=folder):
        assert Journal().put(record)
    return record


class RecordTests(SimpleTestCase):
    def record(self, **changes) -> Record:
        received = [Event(TEXT, "wörld 🌍"), WEATHER, Event("x", {"of": "a newer version"})]
        completion = Completion(uuid7(), uuid7(), "me", NOT_SAVED, received, USAGE)
        return Record(replace(completion, **changes), COMPLETED)

    def test_a_file_holds_all_of_it(self):
        record = self.record(provider_states={1: '[{"signature": "\\u0000"}]'})

        assert Record.decode(record.encode()) == record

    def test_a_file_of_a_version_without_provider_states(self):
        read = json.loads(self.record().encode())
        del read["provider_states"]

        assert Record.decode(json.dumps(read).encode()).completion.provider_states == {}

    def test_readers_are_sent_the_text_up_to_their_cut(self):
        record = self.record(ending=Ending(endings.INTERRUPTED, "not_saved", "not_saved", cut_position=6))

        completion = Record.decode(record.encode()).completion

        assert completion.end_position == 6
        assert completion.payload == endings.payload(NOT_SAVED, "wörld", completion.payload["usage"])
        assert completion.payload["usage"]["output_tokens"] == 4

    def test_its_repr_shows_no_text(self):
        assert "rld" not in repr(self.record())


class ForgettingNotifier(Notifier):
    """Removes a record from the journal while another one is replayed, as another thread does."""

    forget_record: Callable[[], object]

    def notify_on_commit(self, using, message_ids):
        type(self).forget_record()


class JournalTests(TransactionTestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "journal"
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=str(self.folder)))
        self.journal = Journal()

    @property
    def names(self) -> list[str]:
        """What the folder holds."""
        return sorted(path.name for path in self.folder.iterdir())

    def message(self, record: Record) -> Message:
        return Message.objects.get(pk=record.message_id)

    def test_one_file_a_reply_that_only_its_owner_reads(self):
        record = make_file(self.folder, "It will rain")
        path = self.folder / f"{record.message_id}.json"

        assert self.names == [path.name]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(self.folder.stat().st_mode) == 0o700

    def test_a_record_survives_a_crash_of_the_machine(self):
        calls = SystemCalls()
        with calls.recorded():
            make_file(self.folder, "It will rain")

        assert calls.made == [("fsync", ".new"), ("rename", ".json"), ("fsync", "folder")]

    def test_what_is_saved_is_what_readers_were_sent(self):
        record = make_file(self.folder, "It will ", "rain")
        replayed = self.journal.replay()
        message = self.message(record)

        assert replayed == ([record.message_id], False)
        assert outcome(message) == ("interrupted", "not_saved", "not_saved")
        assert message.end_payload() == record.completion.payload
        assert message.end_position == record.completion.end_position
        assert (message.finish_reason, message.output_tokens) == ("end_turn", 4)
        assert Conversation.objects.get().output_tokens == 4
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()
        assert self.names == []

    def test_twice_is_once(self):
        record = make_file(self.folder, "It will rain")
        path = self.folder / f"{record.message_id}.json"
        content = path.read_bytes()
        self.journal.replay()
        path.write_bytes(content)

        assert self.journal.replay() == ([], False)
        assert Conversation.objects.get().output_tokens == 4
        assert self.names == []

    def test_an_ending_whose_commit_had_happened_stays(self):
        record = make_file(self.folder, "It will rain")
        Message.objects.update(status="completed", end_reason="stop", text="It will rain")
        LiveReply.objects.all().remove()

        assert self.journal.replay() == ([], False)
        assert self.message(record).status == "completed"
        assert self.names == []

    def test_deleted_conversations_are_skipped(self):
        for change in (
            lambda: Conversation.objects.update(deleted_at=Now()),
            lambda: Conversation.objects.update(erased_at=Now()),
            lambda: Conversation.objects.all().delete(),
        ):
            make_file(self.folder, "secret")
            change()

            assert self.journal.replay() == ([], False)
            assert self.names == []
            assert not Message.objects.filter(text="secret").exists()
            Conversation.objects.all().delete()

    def test_a_reply_that_another_process_ended_is_kept_and_logged_once(self):
        record = make_file(self.folder, "It will rain", expires=-1)

        assert recover_reply(LiveReply.objects.get())
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            self.journal.replay()
            self.journal.replay()

        assert len(logs.output) == 1
        assert "rain" not in logs.output[0]
        assert self.names == [f"{record.message_id}.fenced"]
        assert outcome(self.message(record)) == ("interrupted", "lease_expired", "lease_expired")
        assert self.message(record).text == "It"

    def test_what_cannot_be_read_is_kept_and_stops_nothing(self):
        record = make_file(self.folder, "It will rain")
        odd = {"0": b"", "1": b"{", "2": b"[]", "3": json.dumps({"version": 99}).encode(), "4": b"\xff"}
        for name, content in odd.items():
            (self.folder / f"{name}.json").write_bytes(content)
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            replayed = self.journal.replay()

        assert replayed == ([record.message_id], False)
        assert len(logs.output) == len(odd)
        assert self.names == [f"{name}.unreadable" for name in odd]

    def test_what_the_database_refuses_is_kept_and_stops_nothing(self):
        refused = make_file(self.folder, "It will", fields={"input_tokens": 2**70})
        record = make_file(self.folder, "It will rain")
        with self.assertLogs("streaming_chat", "ERROR"):
            replayed = self.journal.replay()

        assert replayed == ([record.message_id], False)
        assert self.names == [f"{refused.message_id}.refused"]

    def test_what_is_removed_during_a_replay_stops_nothing(self):
        """A text may be redacted while the endings before it are replayed."""
        first, removed, last = (make_record(f"text {number}") for number in range(3))
        with override_settings(STREAMING_CHAT_JOURNAL_DIR=None):
            for record in (first, removed, last):
                self.journal.put(record)
            ForgettingNotifier.forget_record = partial(self.journal.forget, [removed.message_id])
            with self.settings(STREAMING_CHAT_NOTIFIER={"BACKEND": f"{__name__}.ForgettingNotifier"}):
                replayed = self.journal.replay()

        assert replayed == ([first.message_id, last.message_id], False)
        assert self.message(removed).status == "streaming"

    def test_a_file_that_cannot_be_moved_stops_nothing_and_is_tried_again(self):
        """A directory stands where it should go: root, as whom tests may run, may move any file."""
        record = make_file(self.folder, "It will rain")
        (self.folder / "0.json").write_bytes(b"no record")
        self.enterContext(mock.patch("streaming_chat.engine.ending_journal._RETRY_SECONDS", 0.0))
        in_the_way = self.folder / "0.unreadable"
        (in_the_way / "inside").mkdir(parents=True)
        with self.assertLogs("streaming_chat", "ERROR"):
            replayed = self.journal.replay()

        assert replayed == ([record.message_id], True)

        shutil.rmtree(in_the_way)
        (taken,) = self.folder.glob("0.*.taken")
        os.utime(taken, (time.time() - 100,) * 2)
        with self.assertLogs("streaming_chat", "ERROR"):
            again = self.journal.replay()

        assert again == ([], False)
        assert self.names == ["0.unreadable"]

    def test_two_processes_that_replay_one_folder_save_each_ending_once(self):
        records = [make_file(self.folder, f"text {number}") for number in range(20)]
        start = threading.Barrier(4)

        def replay():
            start.wait()
            try:
                return Journal().replay()[0]
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            saved = [pk for job in [pool.submit(replay) for _ in range(4)] for pk in job.result()]

        assert sorted(saved) == sorted(record.message_id for record in records)
        assert self.names == []

    def test_so_many_at_once(self):
        records = [make_file(self.folder, f"text {number}") for number in range(3)]

        assert [len(self.journal.replay(2)[0]) for _ in range(2)] == [2, 1]
        assert {self.message(record).status for record in records} == {"interrupted"}

    def test_one_whose_replayer_died_waits_again(self):
        record = make_file(self.folder, "It will rain")
        waits = self.folder / f"{record.message_id}.json"
        taken = waits.rename(waits.with_suffix(".token.taken"))
        half = self.folder / f"{record.message_id}.token.new"
        half.touch()

        assert self.journal.replay() == ([], False)

        for path in (taken, half):
            os.utime(path, (time.time() - 100,) * 2)

        assert self.journal.replay() == ([record.message_id], False)
        assert self.names == []

    def test_a_folder_that_cannot_be_written_is_said_and_memory_keeps_it(self):
        """A file stands where the folder should be: root, as whom tests may run, may write into any folder."""
        self.folder.write_bytes(b"")
        record = make_record("It will rain")
        with self.assertLogs("streaming_chat", "ERROR"):
            kept, lost = self.journal.put(record), self.journal.put(record, in_memory=False)
        with self.assertLogs("streaming_chat", "ERROR"):
            replayed = self.journal.replay()

        assert (kept, lost) == (True, False)
        assert replayed == ([record.message_id], False)
        assert self.message(record).text == "It will rain"
        assert self.journal.weight_in_memory == 0

    def test_without_a_folder_memory_keeps_it(self):
        record = make_record("It will rain")
        with override_settings(STREAMING_CHAT_JOURNAL_DIR=None):
            self.journal.put(record)
            replayed = self.journal.replay()

        assert replayed == ([record.message_id], False)
        assert self.message(record).text == "It will rain"
