"""Reviews: who takes a conversation, who finishes it, verdicts, and two reviewers at the same moment."""

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from streaming_chat.models import Conversation, Feedback, Message, Review, Verdict
from streaming_chat.protocol.endings import completed
from streaming_chat.review import reviews
from streaming_chat.review.reviews import Snapshot, StaleReviewError
from streaming_chat.review.verdicts import VerdictChange
from tests.factories import end_live, make_live, make_message
from tests.review.at_once import at_once
from tests.review.factories import LABELS, expire, finish, make_reviewer, make_waiting, needs_attention, snapshot, state


class StateTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()

    def test_a_new_one_is_unreviewed(self):
        assert state(self.conversation) == "unreviewed"
        assert not Review.objects.exists()

    def test_who_takes_it_has_it(self):
        assert reviews.take(self.conversation.pk, self.rita)
        assert not reviews.take(self.conversation.pk, self.bo)
        assert reviews.take(self.conversation.pk, self.rita)
        assert state(self.conversation) == "in_review"
        assert self.conversation.review.reviewer == self.rita

    def test_done_says_by_whom_when_and_how_far(self):
        assert finish(self.conversation, self.rita)
        review = self.conversation.review

        assert state(self.conversation) == "done"
        assert review.done_by == self.rita
        assert review.through_id == reviews.newest_message(self.conversation.pk)
        assert timezone.now() - review.done_at < timedelta(minutes=1)

    def test_what_came_since_it_was_seen_is_not_done(self):
        before = snapshot(self.conversation)
        make_message(self.conversation)
        Conversation.objects.filter(pk=self.conversation.pk).update(last_activity=Now() + timedelta(seconds=1))

        assert not reviews.finish(self.conversation.pk, self.rita, before, "mine", {})
        assert state(self.conversation) == "in_review"
        assert Review.objects.get().notes == "mine"
        assert Review.objects.get().done_by is None

    def test_the_last_activity_may_have_been_on_a_whole_second(self):
        """SQLite's clock writes .000, where Django writes nothing: as texts one is later than the other."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE streaming_chat_conversation SET last_activity = '2026-11-28 16:26:00.000'")

        assert finish(self.conversation, self.rita)

    def test_a_thumb_down_that_was_not_seen_is_not_done(self):
        before = snapshot(self.conversation)
        Conversation.objects.update(needs_attention=True)

        assert not reviews.finish(self.conversation.pk, self.rita, before, None, {})
        assert needs_attention(self.conversation)

    def test_a_message_of_elsewhere_is_not_how_far(self):
        here = snapshot(self.conversation)
        elsewhere = reviews.newest_message(make_waiting().pk)

        assert reviews.finish(self.conversation.pk, self.rita, Snapshot(0, here.last_activity, elsewhere), None, {})
        assert Review.objects.get().through is None

    def test_done_needs_no_more_attention(self):
        Conversation.objects.update(needs_attention=True)
        finish(self.conversation, self.rita)

        assert not needs_attention(self.conversation)

    def test_what_was_taken_is_free_again_after_half_an_hour(self):
        reviews.take(self.conversation.pk, self.rita)
        reviews.release_expired()

        assert state(self.conversation) == "in_review"

        expire(self.conversation)

        assert reviews.take(self.conversation.pk, self.bo)

    def test_saving_lets_the_half_hour_begin_anew(self):
        reviews.take(self.conversation.pk, self.rita)
        expire(self.conversation)
        reviews.save(self.conversation.pk, self.rita, snapshot(self.conversation), None, {})

        assert not reviews.take(self.conversation.pk, self.bo)

    def test_saving_takes_what_nobody_has(self):
        reviews.save(self.conversation.pk, self.rita, snapshot(self.conversation), "Hm", {})

        assert state(self.conversation) == "in_review"
        assert self.conversation.review.reviewer == self.rita

    def test_saving_takes_nothing_from_another(self):
        reviews.take(self.conversation.pk, self.rita)
        reviews.save(self.conversation.pk, self.bo, snapshot(self.conversation), "Hm", {})

        assert self.conversation.review.reviewer == self.rita

    def test_what_is_done_may_get_notes_and_stays_so(self):
        finish(self.conversation, self.rita)
        reviews.save(self.conversation.pk, self.bo, snapshot(self.conversation), "Hm", {})

        assert state(self.conversation) == "done"
        assert Review.objects.get().notes == "Hm"

    def test_it_goes_with_its_conversation(self):
        finish(self.conversation, self.rita, notes="x", verdicts={None: VerdictChange("bad")})
        self.conversation.delete()

        assert not Review.objects.exists()
        assert not Verdict.objects.exists()

    def test_what_is_gone_cannot_be_judged(self):
        before = snapshot(self.conversation)
        pk = self.conversation.pk
        self.conversation.delete()

        assert not reviews.take(pk, self.rita)
        assert not reviews.finish_as_is(pk, self.rita)
        for judging in (
            lambda: reviews.save(pk, self.rita, before, "x", {}),
            lambda: reviews.finish(pk, self.rita, before, "x", {}),
            lambda: reviews.save_verdicts(pk, self.rita, {None: VerdictChange("bad")}),
        ):
            with self.assertRaises(Conversation.DoesNotExist):
                judging()

    def test_it_stays_when_a_reviewer_goes(self):
        finish(self.conversation, self.rita, notes="x", verdicts={None: VerdictChange("bad")})
        self.rita.delete()

        assert Review.objects.get().done_by is None
        assert Verdict.objects.get().by is None


class StaleTests(TestCase):
    """Who saves what they made of an older version is told, and nothing is overwritten."""

    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.before = snapshot(self.conversation)
        reviews.save(self.conversation.pk, self.rita, self.before, "Rita's", {})

    def test_notes_are_not_overwritten(self):
        with self.assertRaises(StaleReviewError) as raised:
            reviews.save(self.conversation.pk, self.bo, self.before, "Bo's", {})

        assert raised.exception.review.notes == "Rita's"
        assert Review.objects.get().notes == "Rita's"

    def test_done_is_not_said_twice(self):
        finish(self.conversation, self.rita)
        with self.assertRaises(StaleReviewError):
            reviews.finish(self.conversation.pk, self.bo, self.before, None, {})

        assert Review.objects.get().done_by == self.rita

    def test_verdicts_are_each_ones_own_and_saved(self):
        with self.assertRaises(StaleReviewError):
            reviews.save(self.conversation.pk, self.bo, self.before, "Bo's", {None: VerdictChange("bad")})

        assert Verdict.objects.get().by == self.bo

    def test_who_changed_no_notes_overwrites_none(self):
        reviews.save(self.conversation.pk, self.bo, self.before, None, {None: VerdictChange("good")})

        assert Review.objects.get().notes == "Rita's"

    def test_who_saves_the_same_overwrites_none(self):
        reviews.save(self.conversation.pk, self.bo, self.before, "Rita's", {})


class AtOnceTests(TransactionTestCase):
    """Threads, each with a connection of its own, on the database of the suite."""

    def test_no_two_get_the_same(self):
        wanted = {make_waiting(title=str(number)).pk for number in range(24)}
        reviewers = [make_reviewer(f"reviewer{number}") for number in range(4)]

        def all_of(by):
            found = []
            while pk := reviews.take_next("all", by):
                found.append(pk)
            return found

        taken = at_once(*(lambda by=by: all_of(by) for by in reviewers))
        flat = [pk for found in taken for pk in found]

        assert len(flat) == len(set(flat))
        assert set(flat) == wanted
        for by, found in zip(reviewers, taken, strict=True):
            assert set(Review.objects.filter(reviewer=by).values_list("pk", flat=True)) == set(found)

    def test_what_has_expired_is_given_once(self):
        rita = make_reviewer()
        reviewers = [make_reviewer(f"reviewer{number}") for number in range(4)]
        for _round in range(5):
            conversation = make_waiting()
            reviews.take(conversation.pk, rita)
            expire(conversation)
            taken = at_once(*(lambda by=by: reviews.take_next("all", by) for by in reviewers))

            assert sorted(map(str, taken)) == [str(conversation.pk), "None", "None", "None"]
            Conversation.objects.all().delete()

    def test_one_of_two_is_told(self):
        """Nothing is overwritten: what is saved is the whole of what one of them wrote."""
        rita, bo = make_reviewer(), make_reviewer("bo")
        for _round in range(5):
            conversation = make_waiting()
            before = snapshot(conversation)

            def say(by, before=before, pk=conversation.pk):
                return reviews.finish(pk, by, before, f"By {by.pk}", {None: VerdictChange("bad")})

            said = at_once(lambda say=say: say(rita), lambda say=say: say(bo))
            review = Review.objects.get(pk=conversation.pk)

            assert sorted(map(str, said)) == sorted(["True", str(StaleReviewError(review))])
            assert review.notes == f"By {review.done_by_id}"
            assert Verdict.objects.filter(conversation=conversation).count() == 2

    def test_done_and_a_newer_message(self):
        """Whichever comes first: what was not seen is not done."""
        rita = make_reviewer()
        for _round in range(5):
            conversation = make_waiting()
            before = snapshot(conversation)
            live = make_live(conversation)
            at_once(
                lambda before=before, pk=conversation.pk: reviews.finish(pk, rita, before, None, {}),
                lambda live=live: end_now(live),
            )

            assert state(conversation) in ("unreviewed", "in_review")


def end_now(live: Any) -> None:
    """End a reply as the writer does: the lock first."""
    with transaction.atomic():
        Conversation.objects.filter(pk=live.conversation_id).update(last_activity=Now())
        end_live(live, completed("stop"))


@LABELS
class VerdictTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.message = reviews.newest_message(self.conversation.pk)

    def saved(self):
        return [
            (verdict.by.username, verdict.message_id, verdict.value, verdict.labels)
            for verdict in Verdict.objects.order_by("pk")
        ]

    def test_each_reviewer_has_their_own(self):
        for by, verdict in ((self.rita, "bad"), (self.bo, "good"), (self.rita, "unsafe")):
            reviews.save_verdicts(
                self.conversation.pk, by, {self.message: VerdictChange(verdict), None: VerdictChange(verdict, ["rude"])}
            )

        assert sorted(self.saved(), key=str) == sorted(
            [
                ("rita", self.message, "unsafe", []),
                ("rita", None, "unsafe", ["rude"]),
                ("bo", self.message, "good", []),
                ("bo", None, "good", ["rude"]),
            ],
            key=str,
        )

    def test_what_is_not_named_stays(self):
        reviews.save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange("bad", ["rude"])})
        reviews.save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange(labels=["wrong"])})
        reviews.save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange("good")})

        assert self.saved() == [("rita", None, "good", ["wrong"])]

    def test_it_can_be_taken_back(self):
        reviews.save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange("bad", ["rude"])})
        reviews.save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange("", [])})

        assert self.saved() == []

    def test_there_are_no_others(self):
        for arguments in (("terrible",), ("bad", ["tall"])):
            with self.subTest(arguments), self.assertRaises(ValueError):
                VerdictChange(*arguments)

    def test_messages_of_other_conversations_are_refused(self):
        with self.assertRaises(ValueError):
            reviews.save_verdicts(make_waiting().pk, self.rita, {self.message: VerdictChange("bad")})

        assert self.saved() == []


class SettingsTests(TestCase):
    def test_feedback_and_messages_are_still_whole(self):
        """The tables of judging refer to them; a message that is gone leaves no review without its conversation."""
        conversation = make_waiting()
        Feedback.objects.create(message=conversation.head, value=-1, owner_key=conversation.owner_key)
        finish(conversation, make_reviewer())
        Message.objects.filter(pk=conversation.head_id).delete()

        assert Review.objects.get().through is None
