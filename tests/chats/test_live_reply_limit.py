"""The row that makes a reply live, and the limit of live replies."""

from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from streaming_chat.chats.live_reply_limit import insert_live_reply, require_free_slot
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import BlockedOwner, LiveReply
from tests.factories import make_conversation, make_live, make_reply


class LiveReplyTests(TestCase):
    def insert(self):
        reply = make_reply(make_conversation(), "", status="streaming", ended_at=None)
        insert_live_reply(reply, "u:1", "me", {"tokens": 5}, connection.alias)
        return LiveReply.objects.get(pk=reply.pk)

    def take(self, slots):
        for slot in slots:
            make_live(make_conversation(), owner_key="u:1", slot=slot)

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=3)
    def test_each_takes_a_slot_until_none_is_left(self):
        slots = set()
        for _number in range(3):
            require_free_slot("u:1", connection.alias)
            slots.add(self.insert().slot)
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.insert()
        with self.assertRaises(APIError) as raised:
            require_free_slot("u:1", connection.alias)

        assert slots == {0, 1, 2}
        assert (raised.exception.status, raised.exception.code) == (429, "too_many_replies")

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=40)
    def test_the_only_free_slot_is_found(self):
        """Whichever it is, and whether or not those of a higher limit are in use."""
        self.take([*range(23), *range(24, 45)])

        assert self.insert().slot == 23

    def test_a_blocked_owner_has_none(self):
        BlockedOwner.objects.create(owner_key="u:1", reason="Spam", by_name="staff")
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.insert()
        with self.assertRaises(APIError) as raised:
            require_free_slot("u:1", connection.alias)

        assert (raised.exception.status, raised.exception.code) == (403, "blocked")

    def test_slots_beyond_the_limit_do_not_count(self):
        """Replies that began before a site lowered its limit."""
        self.take([7, 8, 9])
        require_free_slot("u:1", connection.alias)

        assert self.insert().slot < 3

    def test_the_database_refuses_two_in_one_slot(self):
        """So the limit holds for any number of processes."""
        make_live(make_conversation(), owner_key="u:1", slot=0)
        with self.assertRaises(IntegrityError), transaction.atomic():
            make_live(make_conversation(), owner_key="u:1", slot=0)

    def test_it_says_who_writes_it_and_what_was_reserved(self):
        live = self.insert()

        assert (live.owner_key, live.worker, live.reserved) == ("u:1", "me", {"tokens": 5})

    def test_a_process_that_shuts_down_takes_none(self):
        runner.is_draining = True
        self.addCleanup(setattr, runner, "is_draining", False)
        with self.assertRaises(APIError) as raised:
            self.insert()

        assert (raised.exception.status, raised.exception.code) == (503, "draining")
