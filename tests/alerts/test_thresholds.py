"""Error rates and budgets: counted from the replies in the database, and raised once."""

from datetime import timedelta
from decimal import Decimal

from django.db.models.functions import Now
from django.test import TestCase, override_settings

from streaming_chat.alerts import thresholds
from streaming_chat.models import Alert, Message, ModelTitle
from tests.factories import make_conversation, make_reply, make_user


class ErrorRateTests(TestCase):
    def replies(self, failed, completed, provider="openai", **fields):
        conversation = make_conversation()
        for number in range(failed + completed):
            ending = {"status": "failed", "error_code": "provider_unavailable"} if number < failed else {}
            make_reply(conversation, "x", provider=provider, **ending, **fields)

    def found(self, percent=20):
        with override_settings(STREAMING_CHAT_ALERT_ERROR_PERCENT=percent):
            thresholds.check()
        return [alert.data for alert in Alert.objects.order_by("key")]

    def test_a_rate_above_the_threshold(self):
        self.replies(3, 9)
        self.replies(2, 10, "anthropic")

        assert self.found() == [{"provider": "openai", "percent": 25.0, "minutes": 10, "replies": 12}]

    def test_a_rate_at_the_threshold(self):
        self.replies(3, 12)

        assert self.found() == []

    def test_once_an_hour(self):
        self.replies(10, 0)

        assert len(self.found()) == 1
        assert len(self.found()) == 1
        Alert.objects.update(key="error_rate:openai:2020-01-01T00")
        assert len(self.found()) == 2

    def test_a_few_replies_say_nothing(self):
        self.replies(9, 0)

        assert self.found() == []

    def test_replies_from_before(self):
        self.replies(10, 0, created_at=Now() - timedelta(minutes=11))

        assert self.found() == []

    def test_errors_that_are_not_the_provider_s(self):
        self.replies(0, 10)
        Message.objects.filter(role="assistant").update(status="interrupted", error_code="shutdown")

        assert self.found() == []


class BudgetTests(TestCase):
    def spend(self, *costs, name="ana", **fields):
        conversation = make_conversation(make_user(name))
        for cost in costs:
            make_reply(conversation, "x", cost=Decimal(cost), **fields)
        return conversation

    def check(self, site=None, user=None):
        budgets = {"STREAMING_CHAT_ALERT_DAILY_BUDGET": site, "STREAMING_CHAT_ALERT_DAILY_USER_BUDGET": user}
        with override_settings(**budgets):
            thresholds.check()
        return {(alert.kind, alert.owner_key): alert.data["spent"] for alert in Alert.objects.all()}

    def test_the_site(self):
        self.spend("0.50", "0.25")
        self.spend("0.25", name="bo")
        assert self.check(site=1) == {}

        self.spend("0.01", name="bo")
        assert self.check(site=1) == {("site_budget", ""): "1.01"}
        self.spend("5")
        assert self.check(site=1) == {("site_budget", ""): "1.01"}

    def test_titles_by_a_model_count_for_the_site(self):
        conversation = self.spend("0.50")
        ModelTitle.objects.create(conversation=conversation, model="demo:demo", cost=Decimal("0.75"))

        assert self.check(site=1) == {("site_budget", ""): "1.25"}

    def test_each_user(self):
        ana, bo = (f"u:{make_user(name).pk}" for name in ("ana", "bo"))
        self.spend("0.50", "0.75")
        self.spend("0.50")
        self.spend("0.99", name="bo")
        assert self.check(user=1) == {("user_budget", ana): "1.75"}

        self.spend("0.02", name="bo")
        assert self.check(user=1) == {("user_budget", ana): "1.75", ("user_budget", bo): "1.01"}
        assert Alert.objects.get(owner_key=bo).data["owner"] == bo

    def test_a_large_budget_is_compared_as_a_number(self):
        """SQLite would say that a text is larger than any number."""
        self.spend("9.5")

        assert self.check(site=10, user=10) == {}
        assert self.check(site=9.25, user=9.25).keys() == {("site_budget", ""), ("user_budget", f"u:{make_user().pk}")}

    def test_yesterday(self):
        self.spend("5", created_at=Now() - timedelta(days=1, minutes=1))

        assert self.check(site=1, user=1) == {}

    def test_nothing_was_spent(self):
        make_reply(make_conversation(), "x")

        assert self.check(site=0, user=0) == {}
