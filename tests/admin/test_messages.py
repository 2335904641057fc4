"""The list of replies: how each ended and what it took, without any text."""

import re

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, override_settings

from streaming_chat.exceptions import ENDING_CODES, ERRORS
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.protocol.events import Event
from tests.admin.searching import kept
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff, make_user
from tests.hostile import HOSTILE

LIST = "/admin/streaming_chat/message/"
CONVERSATIONS = "/admin/streaming_chat/conversation/"
TEXTS = ("text", "parts", "title", "system_prompt", "metadata", "comment", "body_digest")


class ListTestCase(TestCase):
    def setUp(self):
        self.client.force_login(make_staff("staff", "view_conversation"))

    def shown(self, url=LIST, **query):
        """Return the rows that a list shows."""
        response = self.client.get(url, kept(self.client, query, url))
        assert response.status_code == 200
        return list(response.context["cl"].result_list)

    def text_of(self, url=LIST, **query):
        page = re.search(r'<table id="result_list".*?</table>', self.client.get(url, query).content.decode(), re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", page[0]).split())


class RowTests(ListTestCase):
    def test_it_says_who_how_and_how_much(self):
        reply = make_reply(
            make_conversation(make_user("ana")), "Rosebud", model="openai:gpt", input_tokens=1200, output_tokens=34,
            first_event_ms=412, duration_ms=2_000, status="interrupted", end_reason="provider_stall",
            error_code="provider_stall",
        )  # fmt: skip
        Feedback.objects.create(message=reply, value=-1, comment="Rosebud", owner_key="u:1")
        row = self.text_of()

        for said in ("ana", "interrupted", "provider_stall", "openai:gpt", "1200 / 34", "412", "2000", "bad"):
            assert said in row
        assert "Rosebud" not in row

    def test_replies_only_newest_first(self):
        conversation = make_conversation()
        make_message(conversation)
        first, second = make_reply(conversation), make_reply(conversation)

        assert self.shown() == [second, first]

    def test_each_leads_to_its_transcript(self):
        reply = make_reply(make_conversation())
        page = self.client.get(LIST).content.decode()

        assert f'href="{CONVERSATIONS}{reply.conversation_id}/change/?message={reply.pk}#m-{reply.pk}"' in page

    def test_no_text_is_loaded_and_rows_cost_no_queries(self):
        for _ in range(2):
            make_reply(make_conversation(make_user(f"user{_}")), "Rosebud")
        with CaptureQueriesContext(connection) as few:
            self.client.get(LIST)
        for number in range(20):
            reply = make_reply(make_conversation(make_user(f"more{number}")), "Rosebud")
            Feedback.objects.create(message=reply, value=1, owner_key="u:1")
        with CaptureQueriesContext(connection) as many:
            self.client.get(LIST)

        assert len(few) == len(many) <= 10
        for column in TEXTS:
            assert not [query["sql"] for query in many if f'"{column}"' in query["sql"]]

    def test_what_a_provider_said_is_escaped(self):
        for text in HOSTILE.values():
            make_reply(make_conversation(), model=text[:255], provider=text[:64])
        page = self.client.get(LIST).content.decode()

        assert "<script>alert" not in page
        assert "<img src=x" not in page


class FilterTests(ListTestCase):
    def setUp(self):
        super().setUp()
        self.good = make_reply(make_conversation(), model="openai:gpt")
        self.failed = make_reply(make_conversation(), "", status="failed", error_code="provider_timeout")
        self.stopped = make_reply(make_conversation(), status="stopped", end_reason="user")
        self.live = make_live(make_conversation(), Event("text", "Half")).message

    def test_each_finds_its_own(self):
        Feedback.objects.create(message=self.stopped, value=-1, owner_key="u:1")
        Feedback.objects.create(message=self.stopped, value=-1, owner_key="u:2")
        Feedback.objects.create(message=self.good, value=1, owner_key="u:1")
        expected = {
            ("status", "failed"): [self.failed],
            ("status", "stopped"): [self.stopped],
            ("error", "provider_timeout"): [self.failed],
            ("reason", "user"): [self.stopped],
            ("live", "1"): [self.live],
            ("feedback", "bad"): [self.stopped],
            ("feedback", "good"): [self.good],
            ("model", "openai:gpt"): [self.good],
        }
        for (name, value), rows in expected.items():
            with self.subTest(name=name, value=value):
                assert self.shown(**{name: value}) == rows

    def test_dates_are_found_by_the_id(self):
        old = Message.objects.get(pk=self.good.pk)
        aged = old.pk.int - (40 * 86_400_000 << 80)
        Message.objects.filter(pk=old.pk).delete()
        old.pk = old.id = type(old.pk)(int=aged)
        old.save(force_insert=True)

        assert old in self.shown(days="90")
        assert old not in self.shown(days="30")
        assert self.failed in self.shown(days="1")

    def test_conversations_are_found_by_what_happened_in_them(self):
        Feedback.objects.create(message=self.stopped, value=-1, owner_key="u:1")
        for query, reply in (
            ({"error": "provider_timeout"}, self.failed),
            ({"feedback": "bad"}, self.stopped),
            ({"live": "1"}, self.live),
        ):
            with self.subTest(query):
                assert self.shown(CONVERSATIONS, **query) == [Conversation.objects.get(messages=reply)]

    def test_values_that_there_are_not_find_all_or_none(self):
        for name in ("status", "error", "reason", "live", "feedback", "model", "days"):
            assert self.client.get(LIST, {name: "'; --"}).status_code == 200

    def test_choices_are_not_read_from_rows(self):
        with CaptureQueriesContext(connection) as queries:
            self.client.get(LIST)

        assert not [query for query in queries if "DISTINCT" in query["sql"]]

    def test_every_code_of_an_ending_can_be_chosen(self):
        assert set(ENDING_CODES) < set(ERRORS)
        page = self.client.get(LIST).content.decode()
        for code in ENDING_CODES:
            assert f"?error={code}" in page

    @override_settings(STREAMING_CHAT_MODELS=["openai:*", "demo:demo"])
    def test_all_of_a_provider(self):
        reply = make_reply(make_conversation(), model="openai:gpt")

        assert self.shown(model="openai:*") == [reply, self.good]


class SearchTests(ListTestCase):
    def test_by_ids_and_references(self):
        reply = make_reply(make_conversation(), request_id="req_1", ref="8f3ac21b")
        other = make_reply(make_conversation(make_user("bo")))
        for term in (str(reply.pk), str(reply.conversation_id), "req_1", "8f3ac21b", "8F3AC21B"):
            with self.subTest(term):
                assert self.shown(q=term) == [reply]
        assert self.shown(q=other.conversation.owner_key) == [other]
        assert self.shown(q=other.conversation.owner_key.upper()) == [other]
        assert self.shown(q="Rain") == []

    def test_references_are_found_by_their_index(self):
        make_reply(make_conversation(), ref="8f3ac21b")
        with CaptureQueriesContext(connection) as queries:
            self.shown(q="8f3ac21b")
        [sql] = [each["sql"] for each in queries if "ref" in each["sql"] and "LIMIT 100" in each["sql"]][-1:]
        plan = Message.objects.exclude(ref="").filter(ref="8f3ac21b").order_by().explain()

        assert "8f3ac21b" in sql
        if connection.vendor == "sqlite":
            assert "USING INDEX streaming_chat_ref" in plan
