"""The numbers of a range of days."""

from datetime import timedelta

from django.test import TestCase

from streaming_chat.models import DailyUsage
from streaming_chat.usage.reports import MOST_LISTED, Report
from streaming_chat.usage.rollups import roll_up, today
from tests.usage.factories import add_reply, ago


class ReportTests(TestCase):
    def test_it_has_every_day_in_order(self):
        days = list(Report.over(7).days)

        assert days == [today() - timedelta(number) for number in range(6, -1, -1)]

    def test_what_failed_is_not_among_what_may_have_cost_something(self):
        add_reply(ago(0), status="failed", error_code="provider_auth")
        add_reply(ago(0))

        assert Report.over(7).total.uncosted == 1

    def test_a_cost_of_nobody_knows_what_is_none(self):
        add_reply(ago(0))

        assert Report.over(7).total.cost is None

    def test_days_before_the_first_that_was_kept_are_not_missing(self):
        add_reply(ago(3))
        list(roll_up())

        assert Report.over(28).missing == []

    def test_so_many_models_are_listed_and_all_are_counted(self):
        DailyUsage.objects.bulk_create(
            DailyUsage(day=ago(1), model=f"own:{number}", status="completed", replies=1)
            for number in range(MOST_LISTED + 5)
        )
        report = Report.over(7)

        assert (len(report.models), len(report.by_model)) == (MOST_LISTED, MOST_LISTED)
        assert report.total.replies == MOST_LISTED + 5
