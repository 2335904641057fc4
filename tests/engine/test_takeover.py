"""What other processes left behind is saved between two flushes, a little at a time."""

import tempfile
from pathlib import Path

from django.db import OperationalError
from django.test import TransactionTestCase, override_settings

from streaming_chat.db.leases import lease_judge
from streaming_chat.engine import takeover
from streaming_chat.engine.takeover import Takeover
from streaming_chat.models import LiveReply, Message
from streaming_chat.protocol.events import TEXT, Event
from tests.factories import make_conversation, make_live, make_steady
from tests.servers import outcome

from .runs import answer_lost
from .test_journal import make_file


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
        assert takeover.journal.names() == []
