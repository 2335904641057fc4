"""How the reply of a dead worker is ended, and that what others left is saved between two flushes, a little at a time."""

import tempfile
from pathlib import Path

from django.db import OperationalError
from django.test import TestCase, TransactionTestCase, override_settings

from streaming_chat.db.leases import lease_judge
from streaming_chat.engine.ending_journal import journal
from streaming_chat.engine.recovery import Takeover, recover_reply
from streaming_chat.models import LiveReply, Message
from streaming_chat.protocol.events import TEXT, Event
from tests.factories import make_conversation, make_live, make_steady
from tests.servers import outcome

from .runs import answer_lost
from .test_ending_journal import make_file


class RecoveryTests(TestCase):
    def recovered(self, *saved, **fields):
        live = make_live(make_conversation(), *saved, **{"expires": -1, **fields})
        return recover_reply(live), Message.objects.get(pk=live.pk)

    def test_what_was_saved_is_kept(self):
        done, message = self.recovered(Event("text", "It "), Event("text", "rains"))

        assert done
        assert (message.status, message.end_reason, message.error_code, message.text) == (
            "interrupted",
            "lease_expired",
            "lease_expired",
            "It rains",
        )
        assert message.parts == [{"kind": "text", "text": "It rains"}]

    def test_a_continuation_keeps_what_it_began_with(self):
        live = make_live(make_conversation(), Event("text", "It "), expires=-1)
        Message.objects.filter(pk=live.pk).update(continued_at=4)
        recover_reply(live)
        message = Message.objects.get(pk=live.pk)

        assert outcome(message) == ("interrupted", "lease_expired", "lease_expired")
        assert (message.text, message.continued_at, message.can_continue) == ("It ", 4, True)

    def test_nothing_saved_is_a_failure(self):
        _done, message = self.recovered()

        assert (message.status, message.end_reason, message.error_code) == ("failed", "", "lease_expired")

    def test_a_stop_that_was_asked_for_holds(self):
        _done, message = self.recovered(Event("text", "It rains"), stop="user", stop_position=3)

        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It")

    def test_a_stop_that_was_asked_for_meanwhile_holds(self):
        """Its owner may stop it after a process has found it and before that process ends it."""
        live = make_live(make_conversation(), Event("text", "It rains"), expires=-1)
        LiveReply.objects.request_stop("user", 3)
        recovered = recover_reply(live)
        message = Message.objects.get(pk=live.pk)

        assert recovered
        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It")

    def test_a_living_workers_reply_is_left_alone(self):
        done, message = self.recovered(Event("text", "It"), expires=60)

        assert not done
        assert message.status == "streaming"
        assert LiveReply.objects.exists()

    def test_it_is_recovered_once(self):
        live = make_live(make_conversation(), expires=-1)

        assert [recover_reply(live), recover_reply(live)] == [True, False]


class TakeoverTests(TransactionTestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=str(self.folder)))
        self.addCleanup(lease_judge.reset)
        make_steady()

    def test_the_journal_comes_first_then_replies_of_dead_workers(self):
        record = make_file(self.folder, "It will rain")
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        work = Takeover({})
        work.work()
        after_first = set(LiveReply.objects.values_list("pk", flat=True))
        work.work()

        assert record.message_id not in after_first
        assert after_first == {dead.pk}
        assert not LiveReply.objects.exists()
        assert not work.is_replay_due

    def test_replies_of_its_own_are_left_alone(self):
        """After a pause its own leases have run out, too; their runs renew them at the next flush."""
        own = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1, worker="me")
        dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1, worker="me")
        work = Takeover({own.pk: "its run"})
        work.work()
        work.work()

        assert set(LiveReply.objects.values_list("pk", flat=True)) == {own.pk}
        assert outcome(Message.objects.get(pk=dead.pk))[1] == "lease_expired"

    def test_no_worker_is_taken_for_dead_before_the_database_has_worked_for_a_lease(self):
        make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        lease_judge.database_failed()
        work = Takeover({})
        work.work()
        work.work()

        assert LiveReply.objects.count() == 1

    def test_a_replay_that_failed_is_due_again(self):
        record = make_file(self.folder, "It will rain")
        work = Takeover({})
        with answer_lost(happens=False), self.assertRaises(OperationalError):
            work.work()

        assert work.is_replay_due

        work.replay_soon()
        work.work()

        assert not LiveReply.objects.filter(pk=record.message_id).exists()
        assert journal.names() == []
