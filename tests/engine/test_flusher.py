"""A flush finds a connection that works, or says that the database is away."""

from django.test import TransactionTestCase

from streaming_chat.engine.flusher import Flusher
from streaming_chat.engine.saver import Saver
from streaming_chat.protocol.events import TEXT, Event

from .runs import COMPLETED, Received, answer_lost, answer_lost_once, during_commit


class FlusherTests(TransactionTestCase):
    def setUp(self):
        self.run_ = Received("me", "Hello")
        self.flusher = Flusher(Saver("me"))

    def flush(self) -> bool:
        return self.flusher.flush([self.run_.progress])

    def test_a_connection_that_broke_is_tried_once_more_on_a_fresh_one(self):
        """A server that closes idle connections, or restarts between two flushes, is no outage."""
        self.flush()
        self.run_.receive(", world")
        with self.assertNoLogs("streaming_chat", "WARNING"), answer_lost_once():
            is_saved = self.flush()

        assert is_saved
        assert not self.flusher.is_away
        assert self.run_.rows == [Event(TEXT, "Hello, world")]

    def test_a_database_that_fails_again_is_away_until_it_answers(self):
        with self.assertLogs("streaming_chat", "WARNING") as logs, answer_lost(happens=False):
            is_saved = [self.flush(), self.flush()]
            away = self.flusher.is_away, self.flusher.seconds_without_answer > 0
        later = self.flush()

        assert (is_saved, away, later) == ([False, False], (True, True), True)
        assert len(logs.output) == 1
        assert (self.flusher.is_away, self.flusher.seconds_without_answer) == (False, 0)
        assert self.run_.rows == [Event(TEXT, "Hello")]

    def test_a_statement_that_does_not_come_back_is_no_answer(self):
        waited = []
        with during_commit(lambda: waited.append(self.flusher.seconds_without_answer)):
            self.flush()

        assert waited[0] > 0
        assert self.flusher.seconds_without_answer == 0

    def test_an_ending_is_saved_by_the_second_attempt_too(self):
        self.flush()
        self.run_.outcome = COMPLETED
        with answer_lost_once():
            self.flush()

        assert self.run_.sent == [("completed", 6)]
        assert self.run_.progress.is_final
