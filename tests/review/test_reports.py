"""The review statistics: what is counted, for whom, and when two reviewers agree."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

from django.db import connection
from django.db.models.functions import Now
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming_chat.models import Review, Verdict
from streaming_chat.review import reports
from streaming_chat.review.reports import ReviewReport
from streaming_chat.review.verdicts import VerdictChange, save_verdicts
from tests.factories import make_reply
from tests.review.factories import LABELS, finish, make_reviewer, make_waiting


def judge(conversation, by, value, labels=(), message=None):
    save_verdicts(conversation.pk, by, {message and message.pk: VerdictChange(value, labels)})


@LABELS
class CountTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")

    def test_every_day_is_there_in_order(self):
        days = list(ReviewReport.of_last(7).days)

        assert len(days) == 7
        assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(days=1)] * 6

    def test_by_day_reviewer_and_label(self):
        for by, value, labels in (
            (self.rita, "bad", ["rude", "wrong"]), (self.rita, "good", []), (self.bo, "bad", ["rude"]),
            (self.bo, "", ["wrong"]),
        ):  # fmt: skip
            finish(make_waiting(), by, verdicts={None: VerdictChange(value, labels)})
        Review.objects.filter(done_by=self.rita).update(done_at=Now() - timedelta(days=2))
        Verdict.objects.filter(by=self.rita).update(updated_at=Now() - timedelta(days=2))
        report = ReviewReport.of_last(7)
        per_day = [(totals.reviews, totals.judged) for totals in report.days.values()]

        assert per_day == [(0, 0)] * 4 + [(2, 2), (0, 0), (2, 1)]
        assert (report.total.reviews, report.total.judged) == (4, 3)
        assert report.total.verdicts == {"bad": 2, "good": 1, "": 1}
        assert {name: (one.reviews, one.judged) for name, one in report.by_reviewer.items()} == {
            "rita": (2, 2),
            "bo": (2, 1),
        }
        assert report.by_label == [("rude", 2), ("wrong", 2)]

    def test_what_is_older_does_not_count(self):
        finish(make_waiting(), self.rita, verdicts={None: VerdictChange("bad")})
        Review.objects.update(done_at=Now() - timedelta(days=8))
        Verdict.objects.update(updated_at=Now() - timedelta(days=8))

        assert ReviewReport.of_last(7).total == reports.Totals()
        assert ReviewReport.of_last(28).total.reviews == 1

    def test_a_reviewer_whose_account_was_deleted_still_counts(self):
        finish(make_waiting(), self.rita, verdicts={None: VerdictChange("bad")})
        self.rita.delete()
        report = ReviewReport.of_last(7)

        # The review has nobody who finished it.
        assert report.by_reviewer[""].judged == 1

    def test_a_day_is_one_of_utc(self):
        """Whatever the time zone of the site and of its connections to the database."""
        midnight = datetime.combine(datetime.now(UTC), time(), UTC)
        finish(make_waiting(), self.rita, verdicts={None: VerdictChange("bad")})
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            for moment, counts in (
                (midnight, [(0, 0), (1, 1)]),
                (midnight - timedelta(microseconds=1), [(1, 1), (0, 0)]),
            ):
                Review.objects.update(done_at=moment)
                Verdict.objects.update(updated_at=moment)
                with self.subTest(zone=zone, moment=moment), timezone.override(zone):
                    report = ReviewReport.of_last(7)

                    assert [(totals.reviews, totals.judged) for totals in report.days.values()][-2:] == counts

    def test_the_database_calls_no_python(self):
        """On SQLite, Django's TruncDate does, for each row."""
        with CaptureQueriesContext(connection) as queries:
            ReviewReport.of_last(90)

        assert not [query["sql"] for query in queries if "django_datetime" in query["sql"]]

    def test_it_takes_three_queries(self):
        for number in range(5):
            finish(make_waiting(), make_reviewer(f"user{number}"), verdicts={None: VerdictChange("bad", ["rude"])})
        with CaptureQueriesContext(connection) as queries:
            ReviewReport.of_last(90)

        assert len(queries) == 3


@LABELS
class AgreementTests(TestCase):
    def setUp(self):
        self.rita, self.bo, self.cy = (make_reviewer(name) for name in ("rita", "bo", "cy"))
        self.conversation = make_waiting()

    def agreements(self):
        found = ReviewReport.of_last(7).agreements
        return {names: (agreement.pairs, agreement.agreed) for names, agreement in found.items()}

    def test_two_who_judged_the_same(self):
        judge(self.conversation, self.rita, "bad")
        judge(self.conversation, self.bo, "bad")
        other = make_waiting()
        judge(other, self.rita, "good")
        judge(other, self.bo, "unclear")

        assert self.agreements() == {("bo", "rita"): (2, 1)}
        assert ReviewReport.of_last(7).agreement == reports.Agreement(2, 1)

    def test_each_two_of_three(self):
        for by, value in ((self.rita, "bad"), (self.bo, "bad"), (self.cy, "good")):
            judge(self.conversation, by, value)

        assert self.agreements() == {("bo", "rita"): (1, 1), ("bo", "cy"): (1, 0), ("cy", "rita"): (1, 0)}

    def test_a_message_and_its_conversation_are_not_the_same(self):
        reply = make_reply(self.conversation)
        judge(self.conversation, self.rita, "bad")
        judge(self.conversation, self.bo, "bad", message=reply)

        assert self.agreements() == {}
        judge(self.conversation, self.rita, "bad", message=reply)
        assert self.agreements() == {("bo", "rita"): (1, 1)}

    def test_labels_alone_are_no_verdict(self):
        judge(self.conversation, self.rita, "", ["rude"])
        judge(self.conversation, self.bo, "", ["rude"])

        assert self.agreements() == {}

    def test_only_the_newest_are_compared(self):
        before = reports.MAX_COMPARED
        self.addCleanup(setattr, reports, "MAX_COMPARED", before)
        reports.MAX_COMPARED = 2
        judge(self.conversation, self.rita, "bad")
        judge(self.conversation, self.bo, "bad")
        assert not ReviewReport.of_last(7).is_cut
        other = make_waiting()
        judge(other, self.rita, "good")
        judge(other, self.bo, "unclear")
        report = ReviewReport.of_last(7)

        assert report.is_cut
        assert report.agreement == reports.Agreement(1, 0)
