"""What the database holds of replies, for those who follow; tests/test_resume.py has what readers see of it."""

import time

from django.test import TestCase
from django.utils import timezone

from streaming_chat.db.leases import lease_judge
from streaming_chat.engine import lookup
from streaming_chat.engine.lookup import Reading
from streaming_chat.models import LiveReply
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from tests.factories import make_conversation, make_live, make_reply, make_steady, make_user


class RecordTests(TestCase):
    def test_what_is_saved_from_where_a_row_begins(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), Event(TEXT, "lo"))

        assert lookup.look({live.pk: 4}) == {live.pk: Reading([Event(TEXT, "lo")], 6, worker=live.worker)}

    def test_rows_after_a_hole_are_left(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), Event(TEXT, "lo"))

        assert lookup.look({live.pk: 2})[live.pk] == Reading([], 2, worker=live.worker)

    def test_many_replies_are_one_look(self):
        lives = [make_live(make_conversation(make_user(f"u{n}")), Event(TEXT, f"reply {n}")) for n in range(300)]
        with self.assertNumQueries(4):
            found = lookup.look({live.pk: 1 for live in lives})

        assert [found[live.pk].events for live in lives] == [[Event(TEXT, f"reply {n}")] for n in range(300)]

    def test_an_ended_reply_is_its_parts(self):
        reply = make_reply(make_conversation(), "Yes.")
        reading = lookup.look({reply.pk: 3})[reply.pk]

        assert (reading.events, reading.end["status"], reading.end_position) == ([Event(TEXT, "Yes.")], "completed", 5)

    def test_a_reply_that_is_gone(self):
        reply = make_reply(make_conversation(), "Yes.")
        pk = reply.pk
        reply.delete()

        assert lookup.look({pk: 1}) == {pk: Reading([], 1, exists=False)}

    def test_rows_that_do_not_fit_together_are_not_asked_for_ever(self):
        message_id = make_live(make_conversation()).pk
        LiveReply.objects.all().delete()

        assert lookup.look({message_id: 1}) == {}
        assert lookup.read(message_id) == Reading([], 1)

    def test_events_of_all_kinds(self):
        call = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": "{}", "complete": True})
        saved = [Event(REASONING, "Hm."), call, Event(TEXT, "So.")]
        live = make_live(make_conversation(), *saved)

        assert lookup.look({live.pk: 1})[live.pk].next == 8
        assert lookup.read(live.pk).events == saved


class AbandonedTests(TestCase):
    """A process judges others by their leases only when its own database has worked for a lease."""

    def setUp(self):
        self.dead = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)
        self.addCleanup(lease_judge.reset)
        lease_judge.reset()

    def test_a_process_that_has_just_begun_leaves_it(self):
        assert lookup.look({self.dead.pk: 1})[self.dead.pk].end is None

    def test_a_steady_one_settles_it(self):
        make_steady()

        assert lookup.look({self.dead.pk: 1})[self.dead.pk].end["end_reason"] == "lease_expired"

    def test_one_whose_database_has_just_failed_leaves_it(self):
        make_steady()
        lease_judge.database_failed()

        assert not LiveReply.objects.abandoned().exists()
        assert LiveReply.objects.expired().exists()

    def test_many_are_settled_some_at_a_time(self):
        """One killed worker leaves thousands, and who settles them has replies of its own."""
        make_steady()
        late = lookup.recover_abandoned(LiveReply.objects.all(), until=time.monotonic())
        in_time = lookup.recover_abandoned(LiveReply.objects.all())

        assert late == (set(), True)
        assert in_time == ({self.dead.pk}, False)

    def test_those_of_ones_own_are_left(self):
        make_steady()

        assert lookup.recover_abandoned(LiveReply.objects.all(), exclude={self.dead.pk}) == (set(), False)


class PushTests(TestCase):
    def test_replies_are_followed_for_a_while(self):
        live = make_live(make_conversation())
        lookup.push([live.pk])

        assert 5 < (LiveReply.objects.get().followed_until - timezone.now()).total_seconds() < 11
