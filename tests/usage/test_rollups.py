"""What is counted of a day, when it is saved, and when it is counted again."""

from bisect import bisect
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

from django.db import connection, connections
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext, override_settings

from streaming_chat.models import Conversation, DailyUsage, Feedback, Message
from streaming_chat.usage import rollups
from streaming_chat.usage.histograms import FIRST_EVENT_MS, TOKENS_PER_SECOND
from streaming_chat.usage.rollups import RECOUNTED_DAYS, count_day, roll_up
from tests.factories import make_conversation, make_live
from tests.usage.factories import DAY, add_reply, ago, at, judge


class CountingTests(TestCase):
    def test_replies_are_counted_by_model_and_ending(self):
        for fields in (
            {},
            {},
            {"model": "own:model", "provider": "own"},
            {"status": "stopped", "end_reason": "user"},
            {"status": "failed", "error_code": "provider_rate_limited"},
        ):
            add_reply(**fields)

        found = {
            (row.model, row.provider, row.status, row.end_reason, row.error_code): row.replies for row in count_day(DAY)
        }
        assert found == {
            ("demo:demo", "demo", "completed", "stop", ""): 2,
            ("own:model", "own", "completed", "stop", ""): 1,
            ("demo:demo", "demo", "stopped", "user", ""): 1,
            ("demo:demo", "demo", "failed", "", "provider_rate_limited"): 1,
        }

    @override_settings(STREAMING_CHAT_MODELS=["own:listed", "own:*", "demo:demo"])
    def test_models_that_clients_chose_are_counted_as_one(self):
        """Otherwise a client makes as many rows as it finds names."""
        for number in range(3):
            judge(add_reply(model=f"own:chosen-{number}", provider="own"), 1)
        add_reply(model="own:listed", provider="own")
        add_reply(model="demo:no-longer-listed")

        found = {row.model: (row.replies, row.good) for row in count_day(DAY)}
        assert found == {"own:*": (3, 3), "own:listed": (1, 0), "demo:no-longer-listed": (1, 0)}

    def test_a_day_is_one_of_utc(self):
        for hour, day in ((0, DAY), (23, DAY), (0, DAY + timedelta(1))):
            reply = add_reply()
            Message.objects.filter(pk=reply.pk).update(created_at=at(day, hour))

        assert [row.replies for row in count_day(DAY)] == [2]

    def test_what_a_client_says_a_model_said_is_no_reply(self):
        add_reply(origin="client")

        assert count_day(DAY) == []

    def test_tokens_and_costs_are_added_up(self):
        add_reply(input_tokens=10, output_tokens=5, cost=Decimal("0.00000001"))
        cache = {"cached_input_tokens": 8, "cache_write_tokens": 9}
        add_reply(input_tokens=20, **cache, output_tokens=6, cost=Decimal("1.5"))
        add_reply()

        [row] = count_day(DAY)
        assert (row.input_tokens, row.output_tokens) == (30, 11)
        assert (row.cached_input_tokens, row.cache_write_tokens) == (8, 9)
        assert (row.cost, row.uncosted) == (Decimal("1.50000001"), 1)

    def test_costs_that_nobody_knows_are_no_0(self):
        add_reply(input_tokens=10, output_tokens=5)

        [row] = count_day(DAY)
        assert (row.cost, row.uncosted) == (None, 1)

    def test_times_to_the_first_event_are_in_buckets(self):
        for milliseconds in (0, 60, 1_000, 10_000_000, None):
            add_reply(first_event_ms=milliseconds)

        [row] = count_day(DAY)
        assert len(row.first_event_counts) == FIRST_EVENT_MS.size
        assert {index: count for index, count in enumerate(row.first_event_counts) if count} == {0: 2, 14: 1, 37: 1}

    def test_speed_is_of_the_time_after_the_first_event(self):
        add_reply(first_event_ms=500, duration_ms=2_500, output_tokens=100)

        [row] = count_day(DAY)
        assert 45 < TOKENS_PER_SECOND.quantile(row.speed_counts, 0.5) < 60

    def test_reasoning_that_was_not_streamed_took_no_time_after_it(self):
        add_reply(first_event_ms=500, duration_ms=2_500, output_tokens=100, reasoning_tokens=80)
        add_reply(first_event_ms=500, duration_ms=2_500, output_tokens=100, reasoning_tokens=80, reasoning_ms=900)

        [row] = count_day(DAY)
        expected = [bisect(TOKENS_PER_SECOND.bounds, speed) for speed in (10, 50)]
        assert [index for index, count in enumerate(row.speed_counts) if count] == expected

    def test_where_speed_is_not_known_there_is_none(self):
        for fields in (
            {"tokens_estimated": True},
            {"output_tokens": 0},
            {"output_tokens": None},
            {"duration_ms": 500},
            {"first_event_ms": None},
            {"reasoning_tokens": 100},
        ):
            add_reply(**{"first_event_ms": 500, "duration_ms": 900, "output_tokens": 100, **fields})

        [row] = count_day(DAY)
        assert row.speed_counts == []

    def test_feedback_counts_on_the_day_of_its_reply(self):
        judge(add_reply(), 1)
        reply = add_reply()
        judge(reply, -1)
        judge(reply, 1, "u:2")
        judge(add_reply(DAY + timedelta(1)), -1)

        [row] = count_day(DAY)
        assert (row.replies, row.good, row.bad) == (2, 2, 1)

    def test_a_day_is_found_by_an_index(self):
        """Enough rows that a database prefers one, and their figures known to it."""
        conversations = [Conversation(owner_key="v:1") for _ in range(1_000)]
        Conversation.objects.bulk_create(conversations)
        replies = [
            Message(
                conversation=conversations[number % 1_000], role="assistant", created_at=at(DAY + timedelta(number))
            )
            for number in range(-3_000, 3_000)
        ]
        Message.objects.bulk_create(replies)
        Feedback.objects.bulk_create(Feedback(message=reply, value=1, owner_key="v:1") for reply in replies)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        for query in (rollups._groups(DAY), rollups._feedback(DAY)):
            plan = query.explain()

            assert "streaming_chat_message_status" in plan, plan


class RollUpTests(TestCase):
    def kept(self):
        return {row.day: row.replies for row in DailyUsage.objects.order_by("day")}

    def test_each_day_that_is_over_is_kept(self):
        add_reply(ago(3))
        add_reply(ago(1))
        add_reply(ago(0))

        assert list(roll_up()) == [(ago(3), 1), (ago(2), 0), (ago(1), 1)]
        assert self.kept() == {ago(3): 1, ago(2): 0, ago(1): 1}

    def test_a_second_time_changes_nothing(self):
        add_reply(ago(20), first_event_ms=100, input_tokens=3)
        judge(add_reply(ago(2)), 1)
        list(roll_up())
        before = list(DailyUsage.objects.order_by("day").values())
        list(roll_up())
        after = list(DailyUsage.objects.order_by("day").values())

        assert [{**row, "id": 0} for row in after] == [{**row, "id": 0} for row in before]

    def test_only_what_is_missing_and_what_is_recent_is_counted_again(self):
        add_reply(ago(30))
        list(roll_up())
        DailyUsage.objects.filter(day=ago(20)).delete()

        assert [day for day, _count in roll_up()] == [ago(20), *(ago(days) for days in range(RECOUNTED_DAYS, 0, -1))]

    def test_what_was_ended_in_the_middle_goes_on(self):
        add_reply(ago(30))
        running = roll_up()
        for _ in range(5):
            next(running)
        running.close()

        assert len(self.kept()) == 5
        assert next(roll_up()) == (ago(25), 0)

    def test_feedback_that_comes_late_is_counted(self):
        reply = add_reply(ago(RECOUNTED_DAYS))
        list(roll_up())
        judge(reply, -1)
        list(roll_up())

        assert DailyUsage.objects.get(day=ago(RECOUNTED_DAYS)).bad == 1

    def test_days_stay_when_their_conversations_are_removed(self):
        add_reply(ago(30))
        add_reply(ago(1))
        list(roll_up())
        Conversation.objects.filter(messages__created_at__lt=at(ago(20))).delete()
        list(roll_up())

        assert self.kept()[ago(30)] == 1

    def test_rebuilding_counts_everything_again(self):
        add_reply(ago(30))
        list(roll_up())
        add_reply(ago(30))
        list(roll_up())
        assert self.kept()[ago(30)] == 1

        list(roll_up(rebuild=True))
        assert self.kept()[ago(30)] == 2

    def test_since_says_where_to_begin(self):
        add_reply(ago(30))

        assert [day for day, _count in roll_up(ago(2))] == [ago(2), ago(1)]

    def test_without_messages_there_is_nothing_to_keep(self):
        assert list(roll_up()) == []

    def test_a_reply_that_is_being_written_is_counted_as_such(self):
        live = make_live(make_conversation())
        Message.objects.filter(pk=live.pk).update(created_at=at())

        assert [(row.status, row.replies) for row in count_day(DAY)] == [("streaming", 1)]

    def test_a_day_takes_the_same_queries_for_any_number_of_replies(self):
        counts = []
        for _ in range(2):
            for _reply in range(5):
                add_reply(ago(1))
            with CaptureQueriesContext(connection) as queries:
                list(roll_up(ago(1)))
            counts.append(len(queries))

        assert counts[0] == counts[1]


class AtOnceTests(TransactionTestCase):
    def test_two_that_count_the_same_days_keep_them_once(self):
        for days in (2, 2, 1):
            add_reply(ago(days))

        def count(_number):
            try:
                return list(roll_up(rebuild=True))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(count, range(8)))

        assert found == [[(ago(2), 2), (ago(1), 1)]] * 8
        assert sorted(DailyUsage.objects.values_list("day", "replies")) == [(ago(2), 2), (ago(1), 1)]
