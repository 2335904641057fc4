"""Reopening finished reviews, and releasing what was taken: also two reviewers at the same moment."""

from datetime import timedelta

from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from streaming_chat.models import Conversation, Review, Verdict
from streaming_chat.review import queues, reviews
from streaming_chat.review.reopening import finished, reopen
from streaming_chat.review.reviews import StaleReviewError
from streaming_chat.review.verdicts import VerdictChange
from tests.factories import make_message
from tests.review.at_once import at_once
from tests.review.factories import expire, finish, make_reviewer, make_waiting, needs_attention, snapshot, state


class ReopeningTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting(needs_attention=True)
        self.pk = self.conversation.pk

    def test_it_is_unreviewed_and_in_its_queues_again(self):
        finish(self.conversation, self.rita, notes="Hm", verdicts={None: VerdictChange("bad")})

        assert reopen(self.pk, self.bo)
        assert state(self.conversation) == "unreviewed"
        assert needs_attention(self.conversation)
        assert [row.pk for row in queues.unreviewed("attention")] == [self.pk]

    def test_notes_and_verdicts_stay_and_the_end_is_gone(self):
        finish(self.conversation, self.rita, notes="Hm", verdicts={None: VerdictChange("bad")})
        reopen(self.pk, self.bo)
        review = Review.objects.get()

        assert review.notes == "Hm"
        assert Verdict.objects.get().value == "bad"
        assert (review.done_by, review.done_at, review.through, review.changed_by) == (None, None, None, self.bo)
        assert queues.reviewed_today(self.rita).count() == 0

    def test_who_undoes_it_has_it(self):
        finish(self.conversation, self.rita)

        assert reopen(self.pk, self.rita, takes=True)
        assert state(self.conversation) == "in_review"
        assert Review.objects.get().reviewer == self.rita
        assert timezone.now() - Review.objects.get().taken_at < timedelta(minutes=1)

    def test_only_what_is_finished_is_reopened(self):
        assert not reopen(self.pk, self.rita)
        reviews.take(self.pk, self.bo)
        assert not reopen(self.pk, self.rita, takes=True)
        assert state(self.conversation) == "in_review"
        assert Review.objects.get().reviewer == self.bo
        self.conversation.delete()
        assert not reopen(self.pk, self.rita)

    def test_what_somebody_took_since_stays_theirs(self):
        """Something was added, so it was unreviewed, and Bo took it."""
        finish(self.conversation, self.rita)
        version = Review.objects.get().version
        Conversation.objects.update(**queues.columns_on_change(went_wrong=False))
        reviews.take(self.pk, self.bo)

        assert not reopen(self.pk, self.rita, version=version, takes=True)
        assert Review.objects.get().reviewer == self.bo

    def test_another_review_than_the_one_that_was_meant_stays(self):
        finish(self.conversation, self.rita)
        version = Review.objects.get().version
        reopen(self.pk, self.bo)
        finish(self.conversation, self.bo)
        with self.assertRaises(StaleReviewError):
            reopen(self.pk, self.rita, version=version)

        assert state(self.conversation) == "done"
        assert Review.objects.get().done_by == self.bo

    def test_a_form_from_before_is_refused(self):
        finish(self.conversation, self.rita)
        before = snapshot(self.conversation)
        reopen(self.pk, self.bo)
        with self.assertRaises(StaleReviewError):
            reviews.finish(self.pk, self.rita, before, None, {})

        assert state(self.conversation) == "unreviewed"

    def test_a_second_done_does_not_forget_that_it_needed_attention(self):
        finish(self.conversation, self.rita)
        finish(self.conversation, self.rita)
        reopen(self.pk, self.rita)

        assert needs_attention(self.conversation)

    def test_what_needed_attention_in_an_earlier_review_does_not_count(self):
        finish(self.conversation, self.rita)
        make_message(self.conversation)
        Conversation.objects.update(**queues.columns_on_change(went_wrong=False))
        finish(self.conversation, self.rita)
        reopen(self.pk, self.rita)

        assert not needs_attention(self.conversation)


class FinishedTests(TestCase):
    def test_of_a_reviewer_and_a_time(self):
        rita, bo = make_reviewer(), make_reviewer("bo")
        old, new, other = (make_waiting(title=title) for title in ("old", "new", "other"))
        for conversation, by in ((old, rita), (new, rita), (other, bo)):
            finish(conversation, by)
        reviews.take(make_waiting(title="taken").pk, rita)
        Review.objects.filter(pk=old.pk).update(done_at=Now() - timedelta(days=2))
        day = timezone.now() - timedelta(days=1)

        assert titles(finished()) == ["new", "old", "other"]
        assert titles(finished(rita)) == ["new", "old"]
        assert titles(finished(rita, since=day)) == ["new"]
        assert titles(finished(until=day)) == ["old"]


def titles(rows):
    return sorted(review.conversation.title for review in rows)


class ReleaseTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.first, self.second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))

    def leave(self, conversation, by, notes=None):
        return reviews.leave(conversation.pk, by, snapshot(conversation), notes, {})

    def test_others_can_take_it_at_once(self):
        reviews.take(self.first.pk, self.rita)

        assert self.leave(self.first, self.rita, "Hm")
        assert state(self.first) == "unreviewed"
        assert Review.objects.get().notes == "Hm"
        assert reviews.take_next("all", self.bo) == self.first.pk

    def test_next_does_not_go_back_and_forth(self):
        """And what was skipped comes again after the time for which it would have been taken."""
        for conversation in (self.first, self.second):
            assert reviews.take_next("all", self.rita) == conversation.pk
            self.leave(conversation, self.rita)

        assert reviews.take_next("all", self.rita) is None

        expire(self.first)

        assert reviews.take_next("all", self.rita) == self.first.pk

    def test_what_another_has_is_not_released(self):
        reviews.take(self.first.pk, self.bo)

        assert not self.leave(self.first, self.rita)
        reviews.release(self.first.pk, self.rita)
        assert state(self.first) == "in_review"
        assert Review.objects.get().reviewer == self.bo

    def test_what_has_expired_and_was_taken_by_another_stays_theirs(self):
        reviews.take(self.first.pk, self.rita)
        expire(self.first)
        reviews.take(self.first.pk, self.bo)

        assert not self.leave(self.first, self.rita)
        assert Review.objects.get().reviewer == self.bo

    def test_what_is_done_stays_so(self):
        finish(self.first, self.rita)

        assert not self.leave(self.first, self.rita)
        assert state(self.first) == "done"

    def test_notes_of_another_are_not_overwritten_and_it_is_kept(self):
        reviews.take(self.first.pk, self.rita)
        before = snapshot(self.first)
        reviews.save(self.first.pk, self.bo, before, "Bo's", {})
        with self.assertRaises(StaleReviewError):
            reviews.leave(self.first.pk, self.rita, before, "Rita's", {})

        assert state(self.first) == "in_review"
        assert Review.objects.get().notes == "Bo's"

    def test_releasing_is_no_change_that_others_must_see(self):
        reviews.take(self.first.pk, self.rita)
        before = snapshot(self.first)
        self.leave(self.first, self.rita)

        assert reviews.finish(self.first.pk, self.bo, before, "Bo's", {})

    def test_what_an_undo_releases_comes_next_again(self):
        reviews.take(self.first.pk, self.rita)
        reviews.release(self.first.pk, self.rita)

        assert reviews.take_next("all", self.rita) == self.first.pk
        reviews.release(make_waiting().pk, self.rita)


class AtOnceTests(TransactionTestCase):
    """Threads, each with a connection of its own, on the database of the suite."""

    def test_one_of_two_reopens_it(self):
        rita, bo = make_reviewer(), make_reviewer("bo")
        for _round in range(5):
            conversation = make_waiting(needs_attention=True)
            finish(conversation, rita)
            version = Review.objects.get(pk=conversation.pk).version
            said = at_once(
                *(
                    lambda by=by, pk=conversation.pk, version=version: reopen(pk, by, version=version, takes=True)
                    for by in (rita, bo)
                )
            )
            review = Review.objects.get(pk=conversation.pk)

            assert sorted(said) == [False, True]
            assert review.reviewer == (rita, bo)[said.index(True)]
            assert review.version == version + 1
            assert needs_attention(conversation)

    def test_reopened_while_another_finishes_it_again(self):
        """Bo has the finished transcript open: one of them is told."""
        rita, bo = make_reviewer(), make_reviewer("bo")
        for _round in range(5):
            conversation = make_waiting()
            finish(conversation, rita)
            before = snapshot(conversation)
            reopened, refinished = at_once(
                lambda pk=conversation.pk, version=before.version: reopen(pk, rita, version=version, takes=True),
                lambda pk=conversation.pk, before=before: reviews.finish(pk, bo, before, "Bo's", {}),
            )

            assert isinstance(reopened, StaleReviewError) or isinstance(refinished, StaleReviewError)
            assert (state(conversation) == "in_review") == (reopened is True)
            assert (Review.objects.get(pk=conversation.pk).done_by == bo) == (refinished is True)

    def test_released_while_another_takes_the_next(self):
        """In either order, it is in review by Bo, or waits for the next reviewer."""
        rita, bo = make_reviewer(), make_reviewer("bo")
        for _round in range(5):
            conversation = make_waiting()
            reviews.take(conversation.pk, rita)
            before = snapshot(conversation)
            released, taken = at_once(
                lambda pk=conversation.pk, before=before: reviews.leave(pk, rita, before, None, {}),
                lambda: reviews.take_next("all", bo),
            )

            assert released is True
            assert taken in (None, conversation.pk)
            assert state(conversation) == ("in_review" if taken else "unreviewed")
            assert Review.objects.get(pk=conversation.pk).reviewer == (bo if taken else rita)
            Conversation.objects.all().delete()
