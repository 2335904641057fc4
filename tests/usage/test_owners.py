"""What each owner has used: saved day by day, and counted live for the days that may not be saved yet."""

from datetime import timedelta
from decimal import Decimal

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.models import Conversation, DailyOwnerUsage, Message, ModelTitle
from streaming_chat.usage.days import today
from streaming_chat.usage.owner_counts import count_owners
from streaming_chat.usage.owners import MAX_OWNERS, top_owners, total, usage_of
from streaming_chat.usage.rollups import KEPT_OWNER_DAYS, roll_up
from tests.factories import make_user
from tests.usage.factories import DAY, add_reply, ago, at


def add(name="ana", day=DAY, **fields):
    """Return a reply of that day to a user."""
    reply = add_reply(day, **fields)
    user = make_user(name)
    Conversation.objects.filter(pk=reply.conversation_id).update(owner=user, owner_key=f"u:{user.pk}")
    return reply


def key_of(name):
    return f"u:{make_user(name).pk}"


class CountingTests(TestCase):
    def test_replies_tokens_and_costs_of_each_owner(self):
        add(input_tokens=10, output_tokens=5, cost=Decimal("0.5"))
        add(input_tokens=1, output_tokens=2, cost=Decimal("0.25"))
        add("bo", input_tokens=3)
        found = {row.owner_key: row for row in count_owners(DAY)}
        ana, bo = found[key_of("ana")], found[key_of("bo")]

        assert (ana.replies, ana.input_tokens, ana.output_tokens, ana.cost) == (2, 11, 7, Decimal("0.75"))
        assert (bo.replies, bo.input_tokens, bo.output_tokens, bo.cost, bo.uncosted) == (1, 3, 0, None, 1)

    def test_a_failed_reply_is_not_among_what_may_have_cost_something(self):
        add(status="failed", error_code="provider_auth")

        assert count_owners(DAY)[0].uncosted == 0

    def test_a_title_by_a_model_costs_its_owner(self):
        reply = add(cost=Decimal("0.5"))
        title = ModelTitle(conversation_id=reply.conversation_id, model="demo:demo", input_tokens=4, output_tokens=1)
        title.cost, title.created_at = Decimal("0.1"), at(DAY)
        title.save()
        (ana,) = count_owners(DAY)

        assert (ana.replies, ana.input_tokens, ana.cost) == (1, 4, Decimal("0.6"))

    def test_what_an_erased_owner_used_is_nobodys(self):
        reply = add()
        Conversation.objects.filter(pk=reply.conversation_id).update(owner=None, owner_key="", erased_at=at(DAY))

        assert count_owners(DAY) == []

    def test_one_owner_alone(self):
        add()
        add("bo")

        assert [row.owner_key for row in count_owners(DAY, 1, key_of("bo"))] == [key_of("bo")]

    def test_a_reply_belongs_to_its_day_in_utc(self):
        for hour, day in ((0, DAY), (23, DAY), (0, DAY + timedelta(1))):
            Message.objects.filter(pk=add().pk).update(created_at=at(day, hour))

        assert [(row.day, row.replies) for row in sorted(count_owners(DAY, 2), key=lambda row: row.day)] == [
            (DAY, 2),
            (DAY + timedelta(1), 1),
        ]


class RollUpTests(TestCase):
    def test_it_saves_and_counts_again(self):
        reply = add(day=ago(2), cost=Decimal("0.5"))
        list(roll_up())
        Message.objects.filter(pk=reply.pk).update(cost=Decimal("0.75"))
        list(roll_up())
        row = DailyOwnerUsage.objects.get()

        assert (row.day, row.owner_key, row.replies, row.cost) == (ago(2), key_of("ana"), 1, Decimal("0.75"))

    def test_no_more_is_kept_than_is_shown(self):
        old = ago(KEPT_OWNER_DAYS + 1)
        DailyOwnerUsage.objects.create(day=old, owner_key="v:1", replies=1)
        add(day=old)
        add(day=ago(KEPT_OWNER_DAYS))
        list(roll_up())

        assert [row.day for row in DailyOwnerUsage.objects.all()] == [ago(KEPT_OWNER_DAYS)]


class UsageTests(TestCase):
    def test_saved_days_and_live_ones_make_the_sum_once(self):
        for day in (0, 1, 2, 6, 7):
            add(day=ago(day), cost=Decimal(1))
        list(roll_up())
        used = usage_of(key_of("ana"), 7)

        assert list(used) == [today() - timedelta(number) for number in range(6, -1, -1)]
        assert [usage.replies for usage in used.values()] == [1, 0, 0, 0, 1, 1, 1]
        assert total(used.values()).cost == Decimal(4)

    def test_the_top_has_the_highest_cost_first(self):
        add(day=ago(3), cost=Decimal("0.5"))
        add(day=ago(0), cost=Decimal("0.5"))
        add("bo", day=ago(3), cost=Decimal("0.75"))
        add("cy", day=ago(0), input_tokens=1)
        add("di", day=ago(40), cost=Decimal(9))
        list(roll_up())
        found = [(key, usage.cost) for key, usage in top_owners(28)]

        assert found == [(key_of("ana"), Decimal(1)), (key_of("bo"), Decimal("0.75")), (key_of("cy"), None)]

    def test_today_alone(self):
        add(day=ago(0), cost=Decimal(1))
        add("bo", day=ago(1), cost=Decimal(2))

        assert [key for key, _usage in top_owners(1)] == [key_of("ana")]
        assert list(usage_of(key_of("ana"), 1)) == [today()]

    def test_without_prices_the_tokens_decide(self):
        add(day=ago(3), input_tokens=1)
        add("bo", day=ago(3), input_tokens=2)
        list(roll_up())

        assert [key for key, _usage in top_owners(28)] == [key_of("bo"), key_of("ana")]

    def test_so_many_are_listed_with_as_many_queries(self):
        counts = []
        for _time in range(2):
            DailyOwnerUsage.objects.bulk_create(
                DailyOwnerUsage(day=ago(2 + len(counts)), owner_key=f"v:{number}", cost=number)
                for number in range(MAX_OWNERS + 5)
            )
            with CaptureQueriesContext(connection) as queries:
                assert len(top_owners(7)) == MAX_OWNERS
            counts.append(len(queries))

        # Django sends no query for `IN ()`.
        assert counts[0] == counts[1] == 3
