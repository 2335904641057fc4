"""Opening a reply's reader: what it gives back, and how long it may last."""

import uuid

from django.db import connection
from django.test import RequestFactory, SimpleTestCase, TransactionTestCase

from streaming_chat.engine.reader import BlockingReader
from streaming_chat.views.api.readers import open_reader, release_connections
from streaming_chat.views.api.reply_answers import ReplyAnswer, answer_with_reply
from tests.factories import make_conversation, make_reply


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


class NothingToOpenTests(SimpleTestCase):
    def test_an_answer_without_a_reply_is_an_error_of_ours(self):
        with self.assertRaises(LookupError):
            open_reader(RequestFactory().get("/"), ReplyAnswer(message_id=uuid.UUID(int=7)))
