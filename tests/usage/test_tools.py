"""Numbers per tool: of a day, of many days, and on the page of statistics."""

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, override_settings

from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import DailyToolUsage, Message, ToolCall
from streaming_chat.usage.days import ONE_DAY
from streaming_chat.usage.rollups import roll_up
from streaming_chat.usage.tools import count_tools, tool_totals
from tests.factories import make_call, make_conversation, make_message, make_reply, make_staff
from tests.usage.factories import DAY, ago, at

NUMBERS = "/admin/streaming_chat/conversation/numbers/"


def add_call(day=DAY, name="refund", **fields):
    """Return a call of a reply of that day."""
    conversation = make_conversation()
    make_message(conversation, created_at=at(day))
    pk = first_of(at(day).timestamp() + Message.objects.count())
    return make_call(make_reply(conversation, created_at=at(day), pk=pk), name, **fields)


class CountingTests(TestCase):
    def counted(self, day=DAY):
        return {(row.name, row.status): row.calls for row in count_tools(day, day + ONE_DAY)}

    def test_calls_are_counted_by_tool_and_result(self):
        for name, status in (("refund", "ok"), ("refund", "ok"), ("refund", "error"), ("weather", "denied")):
            add_call(name=name, status=status)

        assert self.counted() == {("refund", "ok"): 2, ("refund", "error"): 1, ("weather", "denied"): 1}

    def test_a_day_is_that_of_the_reply(self):
        add_call(DAY - ONE_DAY)
        add_call(DAY)
        add_call(DAY + ONE_DAY)

        assert self.counted() == {("refund", "ok"): 1}

    def test_invented_names_are_counted_as_one(self):
        """Otherwise a model makes as many rows as there are names; and names of no tool may be text."""
        add_call()
        add_call(name="refund", digest="", status="error")
        for number in range(3):
            add_call(name=f"invented {number}", digest="", status="error")

        assert self.counted() == {("refund", "ok"): 1, ("refund", "error"): 1, ("", "error"): 3}

    def test_times_are_of_calls_that_ran(self):
        for ms in (100, 100, 100, 5_000):
            add_call(ms=ms)
        add_call(started_at=None, status="denied", ms=0)
        add_call(status="unknown", ms=0)
        (refund,) = tool_totals(DAY, DAY + ONE_DAY, [DAY])

        assert refund.calls == 6
        assert sum(refund.ms_counts) == 4
        assert 84 <= refund.median <= 119
        assert 4_000 <= refund.p95 <= 6_000


class RollupTests(TestCase):
    def test_days_that_are_over_are_saved_and_outlive_the_calls(self):
        add_call(ago(2), ms=100)
        add_call(ago(2), ms=200)
        add_call(ago(2), "weather")
        list(roll_up())
        ToolCall.objects.all().delete()
        refund, weather = tool_totals(ago(7), ago(0), [ago(0)])

        assert (refund.name, refund.calls, sum(refund.ms_counts)) == ("refund", 2, 2)
        assert (weather.name, weather.calls) == ("weather", 1)

    def test_counting_again_replaces(self):
        add_call(ago(2))
        list(roll_up())
        add_call(ago(2))
        list(roll_up())

        assert [row.calls for row in DailyToolUsage.objects.all()] == [2]

    def test_saved_days_and_today_are_added_up(self):
        add_call(ago(3))
        list(roll_up())
        add_call(ago(0), status="error")
        (refund,) = tool_totals(ago(7), ago(0), [ago(0)])

        assert refund.statuses == {"ok": 1, "error": 1}


@override_settings(STREAMING_CHAT_TOOLS={"shop": "tests.tools.shop.tools"})
class PageTests(TestCase):
    def setUp(self):
        self.client.force_login(make_staff("staff", "view_conversation"))

    def test_the_page_has_calls_failures_and_times(self):
        add_call(ago(0), ms=120)
        add_call(ago(0), status="error", ms=120)
        add_call(ago(0), status="unknown")
        add_call(ago(0), "rosebud", digest="", status="error")
        text = self.client.get(NUMBERS).content.decode()
        refund, others = text[text.index('id="numbers-tools"') :].split("unknown tools")
        cells = refund[refund.index("refund") :].split("<bdi>")[1:]

        assert "rosebud" not in text
        assert [cell.partition("<")[0] for cell in cells[:6]] == ["3", "1", "1", "0", "0", "1"]
        assert cells[6].startswith("0.1")
        assert "<bdi>1</bdi>" in others

    def test_without_calls_there_is_no_table(self):
        assert "numbers-tools" not in self.client.get(NUMBERS).content.decode()

    def test_it_takes_few_queries(self):
        for number in range(5):
            add_call(ago(0), f"tool_{number}")
            add_call(ago(1), f"tool_{number}")
        list(roll_up())
        with CaptureQueriesContext(connection) as seen:
            self.client.get(NUMBERS, {"days": 90})

        assert len(seen) <= 10
