"""How a request is answered with a reply."""

from django.db import connection
from django.test import RequestFactory, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from streaming_chat.engine.follower import FollowedReply
from streaming_chat.engine.reader import BlockingReader
from streaming_chat.exceptions import APIError
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
        answer = answer_with_reply(live.pk, None, position=2)

        assert isinstance(answer.source, FollowedReply)
        assert (answer.position, answer.source.stream.position) == (2, 4)

    def test_an_ended_one_is_replayed(self):
        answer = answer_with_reply(make_reply(make_conversation()).pk, None)

        assert answer.source.stream.events[-1].kind == END

    def test_the_guard_looks_after_owners_but_not_inside_a_transaction(self):
        """Its connection would not see the rows: a TestCase is one."""
        reply = make_reply(make_conversation())

        assert not answer_with_reply(reply.pk, None).is_guarded
        assert not answer_with_reply(reply.pk, None, by_owner=False).by_owner


class LimitTests(SimpleTestCase):
    @override_settings(STREAMING_CHAT_MAX_READERS=0)
    def test_a_process_with_as_many_readers_as_it_may_have_begins_no_reply(self):
        with self.assertRaises(APIError) as raised:
            require_reader_slot()

        assert (raised.exception.status, raised.exception.code) == (503, "full")

    def test_an_unknown_format_names_those_that_there_are(self):
        with self.assertRaises(APIError) as raised:
            encoder_for(RequestFactory().get("/?format=xml"))

        assert raised.exception.status == 406
        assert "simple" in raised.exception.extra["formats"]


class OpenTests(TransactionTestCase):
    def test_a_wsgi_request_gets_a_blocking_reader(self):
        reply = make_reply(make_conversation(), "Yes.")
        reader = open_reader(RequestFactory().get("/"), answer_with_reply(reply.pk, None))

        assert isinstance(reader, BlockingReader)
        assert b"Yes." in b"".join(reader)

    def test_connections_are_given_back_outside_a_transaction(self):
        connection.ensure_connection()
        release_connections()

        assert connection.connection is None
