"""Saving that fails: the trouble of one reply harms no other, and that of the database loses nothing."""

from django.db import OperationalError, connection
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext
from psycopg.errors import DeadlockDetected, SerializationFailure

from streaming_chat.models import LiveReply
from streaming_chat.protocol import events
from tests.servers import outcome

from .runs import COMPLETED, POISON, Received, answer_lost_once, ended, error_of, make_runs, save


class SaverTests(TransactionTestCase):
    def queries(self, runs: list[Received]) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            save(runs)
        return [query["sql"].split()[0] for query in captured]

    def test_a_value_that_the_database_refuses_harms_its_own_reply_only(self):
        runs = make_runs(3)
        save(runs)
        for run in runs:
            run.receive(" and more")
        runs[1].events.append(POISON)
        with self.assertLogs("streaming_chat", "ERROR"):
            done = ended(runs)

        assert done == [runs[1]]
        assert outcome(runs[1].message) == ("interrupted", "not_saved", "not_saved")
        assert runs[1].message.text == "text of 1"
        assert runs[1].sent == [("interrupted", 10)]
        assert runs[1].stops
        assert [events.text_of(run.rows) for run in runs[::2]] == ["text of 0 and more", "text of 2 and more"]

    def test_it_is_found_by_halves(self):
        """One by one, 64 replies would take 64 transactions."""
        runs = make_runs(64)
        runs[40].events.append(POISON)
        with self.assertLogs("streaming_chat", "ERROR"):
            queries = self.queries(runs)

        assert queries.count("ROLLBACK") == 7
        # Six halves without it, and its own ending.
        assert queries.count("COMMIT") == 7
        assert {run.message_id for run in runs if not run.rows} == {runs[40].message_id}

    def test_an_ending_that_the_database_refuses_harms_its_own_reply_only(self):
        runs = make_runs(3)
        save(runs)
        for run in runs:
            run.outcome = COMPLETED
        runs[1].fields = {"input_tokens": 2**70}
        with self.assertLogs("streaming_chat", "ERROR"):
            done = ended(runs)

        assert set(done) == set(runs)
        assert [run.message.status for run in runs] == ["completed", "interrupted", "completed"]
        assert [run.message.text for run in runs] == ["text of 0", "text of 1", "text of 2"]
        assert not LiveReply.objects.exists()

    def test_a_deadlock_is_retried_at_once(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        run.raises = [error_of(DeadlockDetected), error_of(SerializationFailure)]
        done = ended([run])

        assert done == [run]
        assert run.sent == [("completed", 6)]

    def test_a_conflict_at_the_commit_is_retried_at_once_too(self):
        """A database that serializes says so at the commit only."""
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        with answer_lost_once(error_of(SerializationFailure)):
            done = ended([run])

        assert done == [run]
        assert run.sent == [("completed", 6)]

    def test_one_that_seems_to_take_the_database_away_holds_up_no_other(self):
        """Once it is known that the database answers, the batch is divided to find it, and it is saved by itself."""
        runs = make_runs(5)
        odd = runs[2]
        odd.outcome = COMPLETED
        odd.raises = [OperationalError("…")] * 100
        whole = save(runs)
        with self.assertLogs("streaming_chat", "WARNING"):
            divided = save(runs, divide=True)
        for run in runs:
            run.receive(", and more")
        later = save(runs)
        odd.raises = []
        last = save(runs)

        assert whole.outage is not None
        for saving in (divided, later):
            assert (saving.outage, saving.postponed) == (None, [odd.progress])
        assert [events.text_of(run.rows) for run in runs[:2]] == ["text of 0, and more", "text of 1, and more"]
        assert last.ended == [odd.progress]
        assert odd.message.text == "text of 2, and more"

    def test_many_of_them_are_the_databases_own_trouble(self):
        runs = make_runs(12)
        for run in runs:
            run.outcome = COMPLETED
            run.raises = [OperationalError("…")] * 100
        with self.assertLogs("streaming_chat", "WARNING"):
            saving = save(runs, divide=True)

        assert saving.outage is not None
        assert {run.message.status for run in runs} == {"streaming"}
