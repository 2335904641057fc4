"""What transcripts say of the calls of tools, and the filters by them."""

from datetime import UTC, datetime

from django.core.management import call_command
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import ToolCall
from streaming_chat.search import query
from streaming_chat.usage import used_models as used
from streaming_chat.usage.used_models import used_tools
from tests.admin.base import LIST, AdminTestCase, transcript_url
from tests.admin.test_filters import REPLIES, FilterTestCase
from tests.factories import make_call, make_conversation, make_live, make_reply, make_staff, make_user, make_waiting

AT = datetime(2026, 2, 3, 14, 3, tzinfo=UTC)
PARTS = [
    {"kind": "step", "number": 1},
    {"kind": "tool_call", "id": "1", "name": "refund", "arguments": '{"order": 7}', "complete": True},
    {"kind": "approval", "calls": [{"id": "1", "runs": "server", "editable": False}], "expires": "2026-12-01"},
    {"kind": "tool_result", "id": "1", "status": "ok", "output": "refunded 7", "ms": 120},
    {"kind": "step", "number": 2},
    {"kind": "text", "text": "Completed."},
]


class TranscriptTests(AdminTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation, parts=PARTS)
        answer = {"approved": True, "arguments": '{"order": 8}', "reason": "It is fair"}
        self.call = make_call(self.reply, call_id="1", by=make_user("bo"), answered_at=AT, answer=answer)

    def page(self):
        return self.text_of(transcript_url(self.conversation)).replace("&quot;", '"')

    def test_a_call_its_result_how_long_it_took_and_who_allowed_it(self):
        text = self.page()

        assert "refund : done · 120 ms · allowed by bo, " in text
        assert "reason: It is fair" in text
        assert 'Allowed with changed arguments { "order": 8 }' in text
        assert 'Tool call: refund {"order": 7}' in text
        assert "Tool result of refund: done refunded 7" in text

    def test_steps_and_questions_are_no_parts_of_their_own(self):
        text = self.page()

        assert "expires" not in text
        assert '"number"' not in text

    def test_a_refusal(self):
        ToolCall.objects.update(status="denied", started_at=None, ms=0, answer={"approved": False})
        text = self.page()

        assert "refund : denied by bo, " in text
        assert "0 ms" not in text

    def test_a_visitor_who_has_answered(self):
        ToolCall.objects.update(by=None, answer={"approved": True})

        assert "allowed by a visitor or a deleted account, " in self.page()

    def test_staff_who_may_not_read_see_which_tools_ran_and_who_answered(self):
        self.client.force_login(make_staff("clerk", "view_conversation"))
        text = self.page()

        assert "refund : done · 120 ms · answered by bo, " in text
        assert "fair" not in text
        assert '"order"' not in text
        assert "refunded" not in text

    def test_a_name_that_a_model_has_invented_is_text(self):
        make_call(self.reply, "rosebud", digest="", status="error", started_at=None)
        assert "rosebud : failed" in self.page()

        self.client.force_login(make_staff("clerk", "view_conversation"))
        text = self.page()

        assert "unknown tool : failed" in text
        assert "rosebud" not in text

    def test_a_redacted_reply_still_says_which_tools_ran(self):
        self.client.force_login(make_staff("manager", "view_conversation", "view_transcript", "redact_transcript"))
        url = f"{LIST}{self.conversation.pk}/messages/{self.reply.pk}/redact/"
        self.client.post(url, {"confirmed": "yes"})
        text = self.page()

        assert "refund : done · 120 ms · answered by bo, " in text
        assert "fair" not in text
        assert '"order"' not in text

    def test_a_reply_that_waits(self):
        conversation = make_conversation()
        make_waiting(conversation)
        text = self.text_of(transcript_url(conversation))

        assert "The reply waits for a tool call to be answered." in text
        assert "refund : waiting for an answer" in text

    def test_the_number_of_queries_does_not_depend_on_the_calls(self):
        few = self.queries()
        for _count in range(20):
            make_call(make_reply(self.conversation, parts=PARTS), by=make_user("cy"), answered_at=AT)

        assert self.queries() == few <= 11

    def queries(self):
        """Return how many queries the page takes, without the transaction of its access record."""
        with CaptureQueriesContext(connection) as seen:
            self.page()
        return len([each for each in seen if "SAVEPOINT" not in each["sql"]])


class SearchTests(TestCase):
    def test_what_tools_get_and_return_is_not_found(self):
        """docs/search.md says why."""
        reply = make_reply(make_conversation(), parts=PARTS)
        make_call(reply, call_id="1", output="refunded 7")
        call_command("rebuildsearch", verbosity=0)

        assert query.conversations("completed")[0] == {reply.conversation_id}
        assert query.conversations("refunded")[0] == set()
        assert query.conversations("order")[0] == set()


class FilterTests(FilterTestCase):
    def setUp(self):
        super().setUp()
        used._read_tools.cache_clear()
        self.found = make_conversation(title="found")
        self.reply = make_reply(self.found)
        make_call(self.reply, "refund")
        other = make_reply(make_conversation(title="other"))
        make_call(other, "weather")
        # It was not run: it may be an invention.
        make_call(other, "refund", digest="", status="error")

    def test_conversations_and_replies_that_have_used_a_tool(self):
        assert self.titles(tool="refund") == ["found"]
        assert [row.pk for row in self.rows(REPLIES, tool="refund")] == [self.reply.pk]
        assert self.titles(tool="nothing") == []

    def test_the_choices_are_the_tools_that_were_used(self):
        make_call(self.reply, "rosebud", digest="", status="error")
        for url in (LIST, REPLIES):
            page = self.client.get(url).content.decode()

            assert "?tool=refund" in page
            assert "?tool=weather" in page
            assert "rosebud" not in page

    def test_calls_before_the_end_of_a_range_of_dates(self):
        old = make_reply(make_conversation(title="old"), pk=first_of(AT.timestamp()), created_at=AT)
        make_call(old, "refund")

        assert [row.pk for row in self.rows(REPLIES, tool="refund", until="2026-02-03")] == [old.pk]

    def test_replies_that_wait_and_replies_that_are_being_written(self):
        make_waiting(make_conversation(title="waiting"))
        make_live(make_conversation(title="written"))

        assert self.titles(live="waiting") == ["waiting"]
        assert self.titles(live="1") == ["written"]
        assert [row.status for row in self.rows(REPLIES, live="waiting")] == ["waiting"]

    def test_only_the_index_is_read_for_the_choices(self):
        if connection.vendor == "sqlite":
            named = {"table": ToolCall._meta.db_table, "column": "name", "known_by": "digest", "most": 200}
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {used._STATEMENT.format(**named)}")
                steps = [row[-1] for row in cursor.fetchall() if "streaming_chat_toolcall" in row[-1]]

            assert len(steps) == 2
            assert all("INDEX streaming_chat_tool_recent" in step for step in steps)

    def test_names_are_in_alphabetical_order(self):
        assert used_tools() == ["refund", "weather"]
