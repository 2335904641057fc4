"""One transaction for many runs: each event once, each ending once, under a lease that is still held."""

import time
from datetime import timedelta

from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.engine.progress import SavingState
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import Conversation, LiveReply, ReplyEvent
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, Event
from tests.servers import outcome

from .runs import COMPLETED, Received, answer_lost, during_commit, ended, make_runs, save


class SavingTests(TransactionTestCase):
    def queries(self, runs: list[Received]) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            save(runs)
        # Django's log has "20 times: " before a statement that was executed with 20 sets of values.
        return [query["sql"].rpartition(" times: ")[2].split()[0] for query in captured]

    def test_many_replies_are_saved_in_one_transaction(self):
        """As many statements for 20 as for 2."""
        few, many = self.queries(make_runs(2)), self.queries(runs := make_runs(20))

        assert many == few
        assert many.count("COMMIT") == 1
        assert [run.rows for run in runs] == [[Event(TEXT, f"text of {number}")] for number in range(20)]

    def test_many_endings_are_saved_in_one_transaction(self):
        """As many statements for 20 as for 2, whether events were saved before or not, and however they end."""
        queries = []
        for count in (2, 20):
            runs = make_runs(count)
            save(runs[::2])
            for run in runs:
                run.outcome = COMPLETED
                run.fields = {"input_tokens": 2, "output_tokens": 3}
            queries.append(self.queries(runs))

            assert [run.sent for run in runs] == [[("completed", 10 + len(str(number)) - 1)] for number in range(count)]
            assert [run.message.text for run in runs] == [f"text of {number}" for number in range(count)]
            assert set(totals(runs)) == {("completed", 2, 3)}

        few, many = queries

        assert len(many) == len(few)
        assert many.count("COMMIT") == 1
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def test_endings_of_different_kinds_are_saved_together(self):
        stopped, failed, priced, completed = runs = make_runs(4)
        stopped.outcome = endings.stopped("user", 5)
        failed.outcome = endings.broken("rate", received=True, ref="ref")
        priced.outcome = completed.outcome = COMPLETED
        priced.fields = {"model": "test:priced", "input_tokens": 1_000_000, "output_tokens": 1_000_000}
        completed.fields = {"finish_reason": "stop"}
        with self.settings(STREAMING_CHAT_PRICES={"test:priced": {"input": 1, "output": 2}}):
            save(runs)

        assert [outcome(run.message)[:2] for run in runs] == [
            ("stopped", "user"),
            ("interrupted", "provider_error"),
            ("completed", "stop"),
            ("completed", "stop"),
        ]
        assert (stopped.message.text, stopped.message.cut_position) == ("text", 5)
        conversations = [Conversation.objects.get(pk=run.conversation_id) for run in runs]
        assert [conversation.cost for conversation in conversations] == [None, None, 3, None]
        assert [conversation.needs_attention for conversation in conversations] == [False, True, False, False]

    def test_an_ending_whose_lease_is_lost_harms_no_other(self):
        lost, other = make_runs(2)
        LiveReply.objects.filter(pk=lost.message_id).update(worker="another")
        lost.outcome = other.outcome = COMPLETED
        lost.fields = other.fields = {"input_tokens": 2, "output_tokens": 3}
        with self.assertLogs("streaming_chat", "WARNING"):
            done = ended([lost, other])

        assert set(done) == {lost, other}
        assert (lost.message.status, other.message.status) == ("streaming", "completed")
        assert totals([lost, other]) == [("streaming", 0, 0), ("completed", 2, 3)]
        assert LiveReply.objects.get().worker == "another"
        assert other.sent == [("completed", 10)]

    def test_neighbours_are_saved_as_one_row(self):
        run = Received("me", "a", "b", "c")
        save([run])
        run.receive("d", "e")
        save([run])
        rows = list(ReplyEvent.objects.order_by("position").values_list("position", "payload"))

        assert rows == [(1, "abc"), (4, "de")]

    def test_an_ending_is_saved_with_all_that_came_before_it(self):
        run = Received("me", "Hel")
        save([run])
        run.receive("lo")
        run.outcome = COMPLETED
        done = ended([run])

        assert done == [run]
        assert run.sent == [("completed", 6)]
        assert (run.message.text, run.message.position) == ("Hello", 6)
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def test_an_ending_before_which_nothing_was_saved_deletes_no_rows(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        with CaptureQueriesContext(connection) as captured:
            save([run])

        assert run.message.text == "Hello"
        assert not any("replyevent" in query["sql"] for query in captured)

    def test_an_ending_after_a_commit_whose_answer_was_lost_deletes_its_rows(self):
        run = Received("me", "Hel")
        with answer_lost():
            save([run])
        run.receive("lo")
        run.outcome = COMPLETED
        save([run])

        assert run.message.text == "Hello"
        assert not ReplyEvent.objects.exists()

    def test_a_reply_that_another_process_ended_gets_that_ending(self):
        run = Received("me", "Hel")
        save([run])
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=1))
        recovered = recover_reply(LiveReply.objects.get())
        run.receive("lo")
        run.outcome = COMPLETED
        done = ended([run])

        assert recovered
        assert done == [run]
        assert run.sent == [("interrupted", 4)]
        assert outcome(run.message) == ("interrupted", "lease_expired", "lease_expired")
        assert run.message.text == "Hel"
        assert not ReplyEvent.objects.exists()

    def test_a_reply_whose_lease_another_worker_has_is_left_alone(self):
        run = Received("me", "Hel")
        LiveReply.objects.update(worker="another")
        save([run])

        assert not ReplyEvent.objects.exists()
        assert LiveReply.objects.get().worker == "another"
        assert run.message.status == "streaming"

    def test_a_deleted_reply_ends(self):
        run, other = make_runs(2)
        Conversation.objects.filter(pk=run.conversation_id).delete()
        done = ended([run, other])

        assert done == [run]
        assert len(run.sent) == 1
        assert other.rows == [Event(TEXT, "text of 1")]

    def test_what_was_saved_by_a_commit_whose_answer_was_lost_is_not_saved_again(self):
        run = Received("me", "Hel", "lo")
        with answer_lost():
            save([run])
        run.receive(" world")
        save([run])

        assert run.rows == [Event(TEXT, "Hello world")]

    def test_what_a_failed_commit_did_not_save_is_saved_by_the_next(self):
        run = Received("me", "Hel", "lo")
        with answer_lost(happens=False):
            save([run])
        run.receive(" world")
        save([run])

        assert run.rows == [Event(TEXT, "Hello world")]

    def test_an_ending_whose_commits_answer_was_lost_is_sent_as_it_was_saved(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        with answer_lost():
            failed = save([run])
        with self.assertNoLogs("streaming_chat", "WARNING"):
            done = ended([run])

        assert failed.outage is not None
        assert done == [run]
        assert run.sent == [("completed", 6)]

    def test_after_a_lost_answer_every_reply_of_that_commit_is_checked(self):
        """The next save may be of those only that have ended."""
        first, second = make_runs(2)
        with answer_lost():
            outage = save([first, second]).outage
        save([first])
        second.receive(", and more")
        save([first, second])

        assert isinstance(outage, OperationalError)
        assert second.rows == [Event(TEXT, "text of 1, and more")]
        assert second.sent == []

    def test_a_stop_from_elsewhere_is_handed_over_once_saved(self):
        run = Received("me", "Hello")
        LiveReply.objects.all().request_stop("user", 3)
        LiveReply.objects.all().request_stop("staff", 1)
        save([run])

        assert run.stops == [("user", 3)]

    def test_a_reply_without_readers_is_stopped_unless_it_is_followed_elsewhere(self):
        unfollowed, followed = make_runs(2)
        unfollowed.is_unfollowed = followed.is_unfollowed = True
        LiveReply.objects.filter(pk=followed.message_id).update(followed_until=Now() + timedelta(seconds=60))
        save([unfollowed, followed])
        save([unfollowed, followed])

        assert unfollowed.stops[0] == ("disconnect", None)
        assert followed.stops == []

    def test_an_ending_that_was_given_up_before_is_not_saved(self):
        given_up, other = make_runs(2)
        given_up.outcome = other.outcome = COMPLETED
        given_up.progress.move(SavingState.GIVEN_UP)
        done = ended([given_up, other])

        assert done == [other]
        assert (given_up.message.status, given_up.sent) == ("streaming", [])
        assert other.message.status == "completed"

    def test_an_ending_that_was_given_up_during_its_commit_is_not_sent(self):
        run = Received("me", "Hello")
        run.outcome = COMPLETED

        def give_up():
            assert run.progress.move(SavingState.OVERDUE)
            assert run.progress.move(SavingState.GIVEN_UP)

        with during_commit(give_up):
            save([run])

        assert run.message.status == "completed"
        assert run.sent == []

    def test_an_ending_in_flight_is_not_given_up(self):
        """Its commit may happen: readers would get `not_saved` of a reply that is saved."""
        run = Received("me", "Hello")
        run.outcome = COMPLETED
        given_up = []
        with during_commit(lambda: given_up.append(run.progress.move(SavingState.GIVEN_UP))):
            save([run])

        assert given_up == [False]
        assert run.sent == [("completed", 6)]


def totals(runs: list[Received]) -> list[tuple]:
    """Return what their conversations say of their last reply, and of their tokens."""
    of = {
        pk: rest for pk, *rest in Conversation.objects.values_list("pk", "last_status", "input_tokens", "output_tokens")
    }
    return [tuple(of[run.conversation_id]) for run in runs]


class LeaseTests(TransactionTestCase):
    def test_a_lease_is_renewed_by_each_save(self):
        run = Received("me")
        LiveReply.objects.update(expires_at=Now())
        save([run])

        assert not LiveReply.objects.expired().exists()

    def test_a_quiet_replys_lease_is_renewed_three_times_a_lease(self):
        """1,000 quiet replies were 2,000 updates a second; one that is stopped is still noticed at each save."""
        run = Received("me", "text")
        save([run])
        self.expire_soon()
        save([run])

        assert LiveReply.objects.expired().exists()

        run.receive(" and more")
        save([run])

        assert not LiveReply.objects.expired().exists()

        self.expire_soon()
        LiveReply.objects.request_stop("user")
        save([run])

        assert LiveReply.objects.expired().exists()
        assert run.stops == [("user", None)]

    def test_a_quiet_replys_lease_is_renewed_a_third_of_a_lease_after_the_last_time(self):
        """A lease that is renewed later runs out when one flush is late: another process would end the reply."""
        with self.settings(STREAMING_CHAT_LEASE_SECONDS=15):
            run = Received("me", "text")
            save([run])
            for renewed_seconds_ago, is_renewed in ((4.5, False), (5.0, True)):
                with self.subTest(renewed_seconds_ago):
                    self.expire_soon()
                    run.progress.lease_renewed_at = time.monotonic() - renewed_seconds_ago
                    save([run])

                    assert LiveReply.objects.expired().exists() != is_renewed

    def expire_soon(self):
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=1))
