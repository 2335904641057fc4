"""Endings that cannot be saved are given up in time, and kept; unsaved text does not fill the memory."""

import asyncio
import tempfile
import time
from unittest import mock

from django.test import TransactionTestCase, override_settings

from streaming_chat.engine import ending_watch
from streaming_chat.engine.call_log import CallLog, NotedCall
from streaming_chat.engine.ending_journal import journal
from streaming_chat.engine.ending_watch import EndingWatch
from streaming_chat.engine.progress import SavingState
from streaming_chat.models import ToolCall
from streaming_chat.protocol.events import STEP, TOOL_CALL, Event
from streaming_chat.protocol.tool_calls import open_calls

from .runs import COMPLETED, Received, during_commit, save


class EndingWatchTests(TransactionTestCase):
    def setUp(self):
        self.enterContext(
            override_settings(STREAMING_CHAT_JOURNAL_DIR=self.enterContext(tempfile.TemporaryDirectory()))
        )
        self.runs = {}
        self.journaled = []
        self.watch = EndingWatch(self.runs, "me", lambda: self.journaled.append(True))

    def make_run(self, *texts: str, waited: float | None = None) -> Received:
        """Return a run; waited: for how many seconds it has had an ending."""
        run = Received("me", *texts)
        self.runs[run.message_id] = run.progress
        if waited is not None:
            run.outcome = COMPLETED
            run.progress.waiting_since = time.monotonic() - waited
        return run

    def test_an_ending_is_given_up_after_its_time_and_kept(self):
        overdue = self.make_run("Hello", waited=ending_watch.ENDING_SECONDS)
        recent = self.make_run("Hello", waited=1)
        with self.assertLogs("streaming_chat", "ERROR"):
            self.watch.look()

        assert overdue.sent == [("interrupted", 6)]
        assert overdue.progress.state is SavingState.GIVEN_UP
        assert journal.names() == [str(overdue.message_id)]
        assert self.journaled == [True]
        assert (recent.sent, list(self.runs)) == ([], [recent.message_id])

    def test_one_whose_commit_is_in_flight_is_given_up_later(self):
        """That commit may happen, and readers would have got `not_saved` of a reply that is saved."""
        run = self.make_run("Hello", waited=ending_watch.ENDING_SECONDS)
        with during_commit(self.watch.look):
            save([run])

        assert run.sent == [("completed", 6)]
        assert journal.names() == []

    def test_but_not_much_later(self):
        """The answer to a commit may never come, of a server that stands still."""
        run = self.make_run("Hello", waited=ending_watch.ENDING_SECONDS + ending_watch._COMMIT_SECONDS)
        with self.assertLogs("streaming_chat", "ERROR"), during_commit(self.watch.look):
            save([run])

        assert run.sent == [("interrupted", 6)]
        assert journal.names() == [str(run.message_id)]

    def test_the_time_begins_when_the_ending_is_first_seen(self):
        run = self.make_run("Hello")
        self.watch.look()
        without = run.progress.waiting_since
        run.outcome = COMPLETED
        self.watch.look()

        assert without is None
        assert run.progress.waiting_since <= time.monotonic()
        assert run.sent == []

    def test_the_longest_replies_end_when_too_much_waits(self):
        short, long = self.make_run("Hello"), self.make_run("Hello" * 20)
        with mock.patch.object(ending_watch, "_MOST_UNSAVED", 250), self.assertLogs("streaming_chat", "ERROR"):
            self.watch.look()
            self.watch.look()

        assert (long.progress.is_over_memory, short.progress.is_over_memory) == (True, False)
        assert long.sent == [("interrupted", 101)]
        assert short.sent == []

    def test_a_process_that_ends_leaves_its_endings_to_another(self):
        """Readers are sent none: clients find them when they come back."""
        ended, cut = self.make_run("Hello", waited=0), self.make_run("Hel")
        self.watch.hand_over()

        assert self.runs == {}
        assert [run.progress.state for run in (ended, cut)] == [SavingState.HANDED_OVER] * 2
        assert [(run.sent, run.is_dismissed) for run in (ended, cut)] == [([], True)] * 2
        assert len(journal.names()) == 2

        assert len(journal.replay().saved) == 2
        assert (ended.message.status, cut.message.end_reason) == ("completed", "shutdown")

    def test_a_process_that_ends_leaves_no_call_without_a_result(self):
        """An asynchronous tool may block the event loop, so that its run is not concluded in time."""
        run = self.make_run()
        calls = [{"id": name, "name": "f", "arguments": "{}", "complete": True} for name in ("begun", "other")]
        run.events += [Event(STEP, {"number": 1}), *(Event(TOOL_CALL, call) for call in calls)]
        run.calls = CallLog(asyncio.new_event_loop())
        self.addCleanup(run.calls._loop.close)
        run.calls.note([NotedCall("begun", "digest", is_idempotent=False)])
        self.watch.hand_over()
        journal.replay()

        assert open_calls(run.message.events()) == []
        statuses = ToolCall.objects.order_by("pk").values_list("call_id", "status")
        assert [*statuses] == [("begun", "unknown"), ("other", "cancelled")]
