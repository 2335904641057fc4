"""The numbers of a range of days."""

from datetime import timedelta

from django.test import TestCase

from streaming_chat.models import DailyUsage
from streaming_chat.usage.days import today
from streaming_chat.usage.reports import MAX_ROWS, Report
from streaming_chat.usage.rollups import roll_up
from tests.usage.factories import add_reply, ago


class ReportTests(TestCase):
    def test_it_has_every_day_in_order(self):
        days = list(Report.of_last(7).days)

        assert days == [today() - timedelta(number) for number in range(6, -1, -1)]

    def test_what_failed_is_not_among_what_may_have_cost_something(self):
        add_reply(ago(0), status="failed", error_code="provider_auth")
        add_reply(ago(0))

        assert Report.of_last(7).total.uncosted == 1

    def test_a_cost_of_nobody_knows_what_is_none(self):
        add_reply(ago(0))

        assert Report.of_last(7).total.cost is None

    def test_days_before_the_first_that_was_kept_are_not_missing(self):
        add_reply(ago(3))
        list(roll_up())

        assert Report.of_last(28).missing == []

    def test_so_many_models_are_listed_and_all_are_counted(self):
        DailyUsage.objects.bulk_create(
            DailyUsage(day=ago(1), model=f"own:{number}", status="completed", replies=1)
            for number in range(MAX_ROWS + 5)
        )
        report = Report.of_last(7)

        assert (len(report.models), len(report.by_model)) == (MAX_ROWS, MAX_ROWS)
        assert report.total.replies == MAX_ROWS + 5
