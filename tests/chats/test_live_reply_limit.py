"""The row that makes a reply live, and the limit of live replies."""

from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from streaming_chat.chats.live_reply_limit import insert_live_reply
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import LiveReply
from tests.factories import make_conversation, make_live, make_reply


class LiveReplyTests(TestCase):
    def insert(self):
        reply = make_reply(make_conversation(), "", status="streaming", ended_at=None)
        insert_live_reply(reply, "u:1", "me", {"tokens": 5}, connection.alias)
        return LiveReply.objects.get(pk=reply.pk)

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=3)
    def test_each_takes_a_slot_until_none_is_left(self):
        slots = {self.insert().slot for _number in range(3)}
        with self.assertRaises(APIError) as raised:
            self.insert()

        assert slots == {0, 1, 2}
        assert (raised.exception.status, raised.exception.code) == (429, "too_many_replies")

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
