"""Which conversations each queue has, and in what order."""

from datetime import timedelta

from django.db.models.functions import Now
from django.test import TestCase, override_settings

from streaming_chat.models.reviews import random_sample_number
from streaming_chat.review import queues, reviews
from tests.factories import make_conversation, make_live
from tests.review.factories import expire, finish, make_reviewer, make_waiting


class QueueTests(TestCase):
    def waiting(self, queue):
        return [conversation.title for conversation in queues.unreviewed(queue)]

    def test_newest_first(self):
        for days in (2, 1, 3):
            make_waiting(title=str(days), last_activity=Now() - timedelta(days=days))

        assert self.waiting("all") == ["1", "2", "3"]

    def test_what_nobody_need_see_is_in_none(self):
        rita = make_reviewer()
        make_conversation(title="empty", needs_attention=True)
        make_waiting(title="deleted", deleted_at=Now(), needs_attention=True)
        make_waiting(title="erased", erased_at=Now(), needs_attention=True)
        make_live(make_conversation(title="live", needs_attention=True))
        reviews.take(make_waiting(title="in review", needs_attention=True).pk, rita)
        finish(make_waiting(title="done", needs_attention=True), rita)
        with override_settings(STREAMING_CHAT_REVIEW_SAMPLE_PERCENT=100):
            assert [self.waiting(queue) for queue in queues.Queue.values] == [[], [], []]

    def test_attention(self):
        make_waiting(title="a", needs_attention=True)
        make_waiting(title="b")

        assert self.waiting("attention") == ["a"]

    def test_a_sample_holds_each_smaller_one(self):
        for number in (0, 499, 500, 9_999):
            make_waiting(title=str(number), sample_number=number)
        found = {}
        for percent in (0, 1, 5, 5.01, 100):
            with override_settings(STREAMING_CHAT_REVIEW_SAMPLE_PERCENT=percent):
                found[percent] = sorted(self.waiting("sample"), key=int)

        assert found == {
            0: [],
            1: ["0"],
            5: ["0", "499"],
            5.01: ["0", "499", "500"],
            100: ["0", "499", "500", "9999"],
        }

    def test_a_sample_is_of_the_last_month(self):
        make_waiting(sample_number=0, last_activity=Now() - timedelta(days=31))

        assert self.waiting("sample") == []

    def test_numbers_are_drawn_evenly(self):
        drawn = [random_sample_number() for _ in range(20_000)]

        assert 0.04 < sum(number < 500 for number in drawn) / len(drawn) < 0.06
        assert 0 <= min(drawn) < max(drawn) < 10_000

    def test_next_takes_the_first_that_is_left(self):
        rita, bo = make_reviewer(), make_reviewer("bo")
        old, new = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (2, 1))

        assert reviews.take_next("all", rita) == new.pk
        assert reviews.take_next("all", bo) == old.pk
        assert reviews.take_next("all", rita) is None

    def test_next_is_not_the_one_that_is_left(self):
        only = make_waiting()

        assert reviews.take_next("all", make_reviewer(), leaving=only.pk) is None

    def test_what_expired_is_in_it_again(self):
        conversation = make_waiting()
        reviews.take(conversation.pk, make_reviewer())
        expire(conversation)

        assert reviews.take_next("all", make_reviewer("bo")) == conversation.pk
