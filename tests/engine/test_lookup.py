"""Tests of engine/lookup.py; tests/test_resume.py has what readers see of it."""

import time

from django.db import transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from streaming_chat.db.leases import lease_judge
from streaming_chat.engine import lookup
from streaming_chat.engine.lookup import Reading
from streaming_chat.models import LiveReply
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from tests.factories import make_conversation, make_live, make_reply, make_steady, make_user


class ReadTests(TestCase):
    def test_events_from_the_start_of_a_row(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), Event(TEXT, "lo"))
        reading = lookup.read({live.pk: 4})[live.pk]

        assert reading == Reading(4, [Event(TEXT, "lo")], worker=live.worker)
        assert reading.next_start == 6

    def test_rows_after_a_missing_one_are_left(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), Event(TEXT, "lo"))
        reading = lookup.read({live.pk: 2})[live.pk]

        assert reading == Reading(2, [], worker=live.worker)
        assert reading.next_start == 2

    def test_many_replies_take_few_queries(self):
        lives = [make_live(make_conversation(make_user(f"u{n}")), Event(TEXT, f"reply {n}")) for n in range(300)]
        with self.assertNumQueries(4):
            found = lookup.read({live.pk: 1 for live in lives})

        assert [found[live.pk].events for live in lives] == [[Event(TEXT, f"reply {n}")] for n in range(300)]

    def test_an_ended_reply_is_its_message(self):
        reply = make_reply(make_conversation(), "Yes.")
        reading = lookup.read({reply.pk: 3})[reply.pk]

        assert (reading.start, reading.events) == (1, [Event(TEXT, "Yes.")])
        assert (reading.ending["status"], reading.ending_position, reading.is_final) == ("completed", 5, True)

    def test_a_deleted_reply_does_not_exist(self):
        reply = make_reply(make_conversation(), "Yes.")
        pk = reply.pk
        reply.delete()

        assert lookup.read({pk: 1}) == {pk: Reading(1, [], exists=False)}
        assert lookup.read_all(pk).is_final

    def test_rows_that_contradict_each_other_are_not_read_for_ever(self):
        message_id = make_live(make_conversation()).pk
        LiveReply.objects.all().delete()

        assert lookup.read({message_id: 1}) == {}
        assert lookup.read_all(message_id) == Reading(1, [])

    def test_all_kinds_of_events(self):
        call = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{}", "complete": True})
        saved = [Event(REASONING, "Hm."), call, Event(TEXT, "So.")]
        live = make_live(make_conversation(), *saved)

        assert lookup.read({live.pk: 1})[live.pk].next_start == 8
        assert lookup.read_all(live.pk).events == saved


class RecoveryTests(TestCase):
    """A process judges leases of others only after its own database has answered for as long as a lease lasts."""

    def setUp(self):
        self.dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        self.addCleanup(lease_judge.reset)
        lease_judge.reset()

    def test_a_process_that_has_just_started_leaves_the_reply(self):
        assert lookup.read({self.dead.pk: 1})[self.dead.pk].ending is None

    def test_a_steady_process_recovers_the_reply(self):
        make_steady()

        assert lookup.read({self.dead.pk: 1})[self.dead.pk].ending["end_reason"] == "lease_expired"

    def test_a_process_whose_database_has_just_failed_leaves_the_reply(self):
        make_steady()
        lease_judge.database_failed()

        assert lookup.read({self.dead.pk: 1})[self.dead.pk].ending is None

    def test_many_replies_are_recovered_some_at_a_time(self):
        """One killed worker leaves thousands, and the process that recovers them has replies of its own."""
        make_steady()
        late = lookup.recover_abandoned(LiveReply.objects.all(), until=time.monotonic())
        in_time = lookup.recover_abandoned(LiveReply.objects.all())

        assert late == (set(), True)
        assert in_time == ({self.dead.pk}, False)

    def test_replies_of_ones_own_are_left(self):
        make_steady()

        assert lookup.recover_abandoned(LiveReply.objects.all(), exclude={self.dead.pk}) == (set(), False)


class MarkFollowedTests(TransactionTestCase):
    def test_replies_are_followed_for_a_while(self):
        live = make_live(make_conversation())
        lookup.mark_followed([live.pk])

        assert 5 < (LiveReply.objects.get().followed_until - timezone.now()).total_seconds() < 11

    def test_it_is_one_savepoint_inside_another_transaction(self):
        """A site's TestCase, or a view under ATOMIC_REQUESTS."""
        live = make_live(make_conversation())
        with transaction.atomic():
            lookup.mark_followed([live.pk])
            transaction.set_rollback(True)

        assert LiveReply.objects.get().followed_until is None
