"""How a request is answered with a reply."""

from unittest.mock import patch

from django.db import connection
from django.db.models.functions import Now
from django.test import RequestFactory, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from streaming_chat.engine.access_guard import Access, access_guard
from streaming_chat.engine.follower import FollowedReply
from streaming_chat.engine.reader import BlockingReader
from streaming_chat.exceptions import APIError
from streaming_chat.models import Message
from streaming_chat.protocol.events import END, TEXT, Event
from streaming_chat.views.api.reply_answers import (
    answer_with_reply,
    encoder_for,
    open_reader,
    release_connections,
    require_reader_slot,
)
from tests.factories import make_conversation, make_live, make_reply


class AnswerTests(TestCase):
    def test_a_reply_of_another_process_is_followed(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"))
        answer = answer_with_reply(live.pk, None, Access(), position=2)

        assert isinstance(answer.source, FollowedReply)
        assert (answer.position, answer.source.stream.position) == (2, 4)

    def test_an_ended_one_is_replayed(self):
        answer = answer_with_reply(make_reply(make_conversation()).pk, None, Access())

        assert answer.source.stream.events[-1].kind == END

    def test_one_that_has_ended_since_its_message_was_read_is_read_again(self):
        message = make_reply(make_conversation(), "", status="streaming", ended_at=None)
        Message.objects.filter(pk=message.pk).update(status="completed", ended_at=Now())
        answer = answer_with_reply(message.pk, message, Access())

        assert answer.source.stream.events[-1].kind == END

    def test_the_guard_does_not_look_inside_a_transaction(self):
        """Its connection would not see the rows: a TestCase is one."""
        reply = make_reply(make_conversation())

        assert not answer_with_reply(reply.pk, None, Access()).access.is_guarded


class LimitTests(SimpleTestCase):
    @override_settings(STREAMING_CHAT_MAX_READERS=0)
    def test_a_process_with_as_many_readers_as_it_may_have_begins_no_reply(self):
        with self.assertRaises(APIError) as raised:
            require_reader_slot("u:1")

        assert (raised.exception.status, raised.exception.code) == (503, "full")

    def open_readers(self, *keys: str) -> None:
        for key in keys:
            self.addCleanup(access_guard.register(self, Access(key=key, is_guarded=False)))

    @override_settings(STREAMING_CHAT_MAX_READERS=100)
    def test_one_owner_leaves_room_for_the_others(self):
        self.open_readers(*["u:1"] * 10)
        for sends in (False, True):
            with self.assertRaises(APIError) as raised:
                require_reader_slot("u:1", sends=sends)

            assert (raised.exception.status, raised.exception.code) == (429, "too_many_streams")
        require_reader_slot("u:2")

    @override_settings(STREAMING_CHAT_MAX_READERS=20)
    def test_readers_leave_room_for_new_messages(self):
        self.open_readers(*(f"u:{number}" for number in range(18)))
        require_reader_slot("u:20", sends=True)
        with self.assertRaises(APIError) as raised:
            require_reader_slot("u:20")

        assert (raised.exception.status, raised.exception.code) == (503, "full")

    @override_settings(STREAMING_CHAT_MAX_READERS=20, STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=12)
    def test_an_owner_can_always_read_as_many_replies_as_may_be_written(self):
        self.open_readers(*["u:1"] * 11)
        require_reader_slot("u:1", sends=True)

    def test_an_unknown_format_names_those_that_there_are(self):
        with self.assertRaises(APIError) as raised:
            encoder_for(RequestFactory().get("/?format=xml"))

        assert raised.exception.status == 406
        assert "simple" in raised.exception.extra["formats"]


class OpenTests(TransactionTestCase):
    def test_a_wsgi_request_gets_a_blocking_reader(self):
        reply = make_reply(make_conversation(), "Yes.")
        reader = open_reader(RequestFactory().get("/"), answer_with_reply(reply.pk, None, Access()))

        assert isinstance(reader, BlockingReader)
        assert b"Yes." in b"".join(reader)

    def test_connections_are_given_back_outside_a_transaction(self):
        connection.ensure_connection()
        release_connections()

        assert connection.connection is None

    def test_connections_that_the_site_keeps_stay_open(self):
        self.addCleanup(connection.close)
        with patch.dict(connection.settings_dict, CONN_MAX_AGE=60):
            connection.close()
            connection.ensure_connection()
            release_connections()

        assert connection.connection is not None
