"""Rows that another session holds, on PostgreSQL: a worker that is paused while it saves, or a commit that takes long."""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction
from django.test import SimpleTestCase, override_settings

from streaming_chat.db.leases import lease_judge
from streaming_chat.engine import lookup
from streaming_chat.engine.ending_journal import Journal
from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol.events import TEXT, Event

from .engine.runs import Received, answer_lost, save
from .engine.test_ending_journal import make_file
from .factories import make_conversation, make_live, make_steady, make_user
from .faulty_postgres import default_database
from .held_rows import HeldRowsCase
from .servers import outcome

INSERT = """
    INSERT INTO streaming_chat_replyevent (message_id, position, kind, payload) VALUES (%s, 1, 'text', '"Hello"')
"""


class DefaultDatabaseTests(SimpleTestCase):
    databases = {"default"}

    def test_a_thread_that_was_connected_before_uses_it_too(self):
        """The writer went on with the server of the test case before, which had ended."""
        with ThreadPoolExecutor(1) as thread:
            names = [thread.submit(_database_name).result()]
            with default_database("sqlite:///another"):
                names.append(thread.submit(_database_name).result())
            names.append(thread.submit(_database_name).result())

        assert names == [_database_name(), "another", _database_name()]


class RecoveryTests(HeldRowsCase):
    """A process that recovers others' replies must keep its own leases meanwhile."""

    def setUp(self):
        self.addCleanup(lease_judge.reset)
        names = [f"user{number}" for number in range(5)]
        self.lives = [make_live(make_conversation(make_user(name)), Event(TEXT, "Hel"), expires=-1) for name in names]
        make_steady()

    def test_what_a_paused_worker_holds_is_not_waited_for(self):
        """Each took 2 s before, of the thread that saves and of the one that follows."""
        *paused, dead = self.lives
        with self.held(*paused):
            began = time.monotonic()
            recovered, more = lookup.recover_abandoned(LiveReply.objects.all())
            found = lookup.read({live.pk: 1 for live in paused})
            lasted = time.monotonic() - began

        assert (recovered, more) == ({dead.pk}, False)
        assert [found[live.pk].events for live in paused] == [[Event(TEXT, "Hel")]] * 4
        assert lasted < 1

    def test_they_are_recovered_once_they_are_unlocked(self):
        with self.held(*self.lives):
            lookup.recover_abandoned(LiveReply.objects.all())
        recovered, _more = lookup.recover_abandoned(LiveReply.objects.all())

        assert recovered == {live.pk for live in self.lives}
        assert {outcome(message)[1] for message in Message.objects.filter(role="assistant")} == {"lease_expired"}

    def test_a_transaction_of_the_sites_own_goes_on_waiting_as_before(self):
        """Its view may send a message for a user whose last reply was abandoned."""
        with transaction.atomic():
            before = lock_timeout("1234ms")
            recovered, _more = lookup.recover_abandoned(LiveReply.objects.all())
            after = lock_timeout()

        assert len(recovered) == 5
        assert (before, after) == ("1234ms", "1234ms")


class ReplayTests(HeldRowsCase):
    def test_records_whose_rows_are_held_keep_no_others_from_their_turn(self):
        """A session that a dead connection left behind may hold them for hours; 20 are replayed at once."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=folder))
        records = sorted((make_file(folder, "It will rain") for _ in range(5)), key=lambda record: record.message_id)
        journal = Journal()
        with self.held(*LiveReply.objects.filter(pk__in=[record.message_id for record in records[:4]])):
            replayed = [journal.replay(2) for _ in range(4)]

        assert [pk for saved, _more in replayed for pk in saved] == [records[4].message_id]
        assert all(more for _saved, more in replayed)
        assert journal.names() == [str(record.message_id) for record in records[:4]]


class LateCommitTests(HeldRowsCase):
    """A commit whose answer is lost may still be under way, and hold what it wrote: the disk stalls, a standby is slow."""

    def setUp(self):
        self.run_ = Received("me", "Hel", "lo")
        with answer_lost(happens=False):
            save([self.run_])
        self.late = self.enterContext(self.held(LiveReply.objects.get()))
        self.late.execute(INSERT, [self.run_.message_id])

    def test_what_it_saved_while_it_was_waited_for_is_not_saved_again(self):
        """It broke the reply before: the database refuses two events of one position."""
        self.run_.receive(" world")
        committer = threading.Timer(0.5, self.late.commit)
        committer.start()
        saving = save([self.run_])
        committer.join()

        assert (saving.postponed, saving.outage, self.run_.sent) == ([], None, [])
        assert rows() == [(1, "Hello"), (6, " world")]

    def test_what_came_after_it_is_saved_once_it_has_let_go(self):
        """It was left out before, though it was not saved."""
        self.run_.receive(" world")
        with self.assertLogs("streaming_chat", "WARNING"):
            postponed = save([self.run_]).postponed
        self.late.commit()
        self.run_.receive("!")
        save([self.run_])

        assert postponed == [self.run_.progress]
        assert rows() == [(1, "Hello"), (6, " world!")]


def _database_name() -> str:
    return connection.settings_dict["NAME"]


def rows() -> list[tuple[int, str]]:
    return list(ReplyEvent.objects.order_by("position").values_list("position", "payload"))


def lock_timeout(value: str = "") -> str:
    """Return the transaction's, after setting it to `value`."""
    with connection.cursor() as cursor:
        if value:
            cursor.execute(f"SET LOCAL lock_timeout = '{value}'")
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]
