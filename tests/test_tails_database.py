"""The tail through the database; tests/test_resume.py has what readers see of it."""

from django.test import TestCase

from streaming_chat.events import TEXT, Event
from streaming_chat.models import LiveReply
from streaming_chat.tails import Reading
from streaming_chat.tails.database import DatabaseTail

from .factories import make_conversation, make_live


class DatabaseTailTests(TestCase):
    def test_what_is_saved_beyond_a_position(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), Event(TEXT, "lo"))

        assert DatabaseTail().read(live.pk, 3) == Reading([Event(TEXT, "llo")])

    def test_a_reply_whose_worker_died_is_settled(self):
        live = make_live(make_conversation(), Event(TEXT, "Hel"), expires=-1)

        assert DatabaseTail().read(live.pk, 1).end["end_reason"] == "lease_expired"

    def test_rows_that_do_not_fit_together_are_not_asked_for_ever(self):
        message_id = make_live(make_conversation()).pk
        LiveReply.objects.all().delete()

        assert DatabaseTail().read(message_id, 1) == Reading([])
