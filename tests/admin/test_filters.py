"""The filters of the lists by model, dates, metadata and deletion."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

from django.db import connection
from django.db.models.functions import Now
from django.db.models.lookups import Exact
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from streaming_chat.admin import filters
from streaming_chat.db.json_text import JSONText
from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import AccessRecord, Conversation, Feedback, Message
from streaming_chat.usage import used_models as used
from streaming_chat.usage.used_models import used_models
from tests.admin.base import LIST, AdminTestCase, transcript_url
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff, make_user
from tests.hostile import HOSTILE

REPLIES = "/admin/streaming_chat/message/"
HOSTILE_DATES = (
    *("x", "2026-02-30", "0001-01-01", "9999-12-31", "1970-01-01", "2026-01-01T00:00", "\0", "٢٠٢٦-٠١-٠١", "1" * 5_000),
    *("-1", "2026-01-01' OR 1=1 --", *HOSTILE.values()),
)


class FilterTestCase(AdminTestCase):
    def titles(self, **query):
        """Return the titles that the list of conversations shows."""
        return [each.title for each in self.rows(LIST, **query)]

    def rows(self, url, **query):
        response = self.client.get(url, query)

        assert response.status_code == 200
        return list(response.context["cl"].result_list)

    def metadata(self, key, value, url=f"{LIST}find/"):
        """Send the form of the filter by metadata, and return the query of the list that it leads to."""
        response = self.client.post(url, {"key": key, "meta": value})

        assert response.status_code == 302
        return {name: values[-1] for name, values in parse_qs(urlsplit(response["Location"]).query).items()}


class UsedModelsTests(TestCase):
    def setUp(self):
        used._read.cache_clear()

    def test_every_model_of_a_reply_in_alphabetical_order(self):
        conversation = make_conversation()
        make_message(conversation)
        for model in ("openai:b", "demo:a", "openai:b", "", "anthropic:c"):
            make_reply(conversation, model=model)

        assert used_models() == ["anthropic:c", "demo:a", "openai:b"]

    def test_they_are_read_once_a_minute(self):
        used_models()
        with self.assertNumQueries(0):
            used_models()
        used._read.cache_clear()
        with self.assertNumQueries(1):
            used_models()

    def test_none(self):
        assert used_models() == []

    def test_there_is_a_limit(self):
        conversation = make_conversation()
        for number in range(4):
            make_reply(conversation, model=f"demo:{number}")
        self.addCleanup(setattr, used, "MAX_MODELS", used.MAX_MODELS)
        used.MAX_MODELS = 3

        assert used_models() == ["demo:0", "demo:1", "demo:2"]

    def test_only_the_index_is_read(self):
        if connection.vendor == "sqlite":
            named = {"table": Message._meta.db_table, "column": "model", "known_by": "model", "most": 200}
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {used._STATEMENT.format(**named)}")
                steps = [row[-1] for row in cursor.fetchall() if "streaming_chat_message" in row[-1]]

            assert len(steps) == 2
            assert all("COVERING INDEX streaming_chat_message_model" in step for step in steps)


class ModelFilterTests(FilterTestCase):
    @override_settings(STREAMING_CHAT_MODELS=["openai:new", "demo:*"])
    def test_every_model_that_was_used_or_is_offered_is_a_choice(self):
        used._read.cache_clear()
        make_reply(make_conversation(), model="openai:retired")
        for url in (LIST, REPLIES):
            page = self.client.get(url).content.decode()
            choices = {parse_qs(query)["model"][0] for query in re.findall(r'href="\?(model=[^"]*)"', unescape(page))}

            assert choices == {"openai:retired", "openai:new", "demo:*"}

    def test_conversations_are_found_by_any_of_their_replies(self):
        switched, other = make_conversation(model="openai:new", title="a"), make_conversation(model="demo:a", title="b")
        make_reply(switched, model="openai:retired")
        make_reply(switched, model="openai:new")
        make_reply(other, model="demo:a")
        make_conversation(model="openai:unused", title="c")

        assert self.titles(model="openai:retired") == ["a"]
        assert self.titles(model="openai:new") == ["a"]
        assert self.titles(model="demo:a") == ["b"]
        assert self.titles(model="openai:unused") == []
        assert self.titles(model="nobody") == []

    def test_also_among_many(self):
        """Of a common model, all its own conversations are found, and those of its newest replies."""
        self.addCleanup(setattr, filters, "NEWEST", filters.NEWEST)
        filters.NEWEST = 2
        for number in range(4):
            make_reply(make_conversation(model="demo:common", title=str(number)), model="demo:common")
        make_reply(make_conversation(model="demo:other", title="switched"), model="demo:common")
        make_reply(make_conversation(model="demo:other", title="other"), model="demo:other")

        assert sorted(self.titles(model="demo:common")) == ["0", "1", "2", "3", "switched"]

        make_reply(Conversation.objects.get(title="0"), model="demo:common")
        make_reply(Conversation.objects.get(title="1"), model="demo:common")
        make_reply(Conversation.objects.get(title="2"), model="demo:common")

        assert sorted(self.titles(model="demo:common")) == ["0", "1", "2", "3"]

    def test_the_newest_replies_are_those_before_the_end_of_the_range(self):
        self.addCleanup(setattr, filters, "NEWEST", filters.NEWEST)
        filters.NEWEST = 0
        old = datetime(2026, 3, 1, 12, tzinfo=UTC)
        conversation = make_conversation(model="demo:other", title="old", last_activity=old)
        reply = make_reply(
            conversation, id=first_of(old.timestamp()), model="demo:a", status="failed", error_code="provider_stall"
        )
        Feedback.objects.create(message=reply, value=-1, owner_key="u:1")
        newer = make_reply(
            make_conversation(model="demo:other", title="new"),
            model="demo:a", status="failed", error_code="provider_stall",
        )  # fmt: skip
        Feedback.objects.create(message=newer, value=-1, owner_key="u:1")
        for name, value in (("model", "demo:a"), ("error", "provider_stall"), ("feedback", "bad")):
            with self.subTest(name):
                assert self.titles(**{name: value}) == ["new"]
                assert self.titles(**{name: value, "until": "2026-03-01"}) == ["old"]

    def test_a_name_of_a_provider_is_escaped(self):
        used._read.cache_clear()
        for text in HOSTILE.values():
            make_reply(make_conversation(), model=text[:255])

        for url in (LIST, REPLIES):
            assert "<script>alert" not in self.client.get(url).content.decode()

    def test_any_value_is_only_a_value(self):
        """PostgreSQL refuses NUL."""
        for value in ("\0", "a\0b", "x" * 5_000, "' OR 1=1 --"):
            for url, names in (
                (LIST, ("model", "error", "deleted")),
                (REPLIES, ("model", "error", "reason", "status")),
            ):
                for name in names:
                    with self.subTest(value[:20], name=name, url=url):
                        assert self.client.get(url, {name: value}).status_code == 200

    def test_a_page_takes_at_most_ten_queries(self):
        make_reply(make_conversation(model="demo:other"), model="demo:a")
        self.titles(model="demo:a")
        with CaptureQueriesContext(connection) as queries:
            self.titles(model="demo:a", **{"from": "2020-01-01"}, deleted="0")

        assert len(queries) <= 10


class DateRangeTests(FilterTestCase):
    def setUp(self):
        super().setUp()
        for day in (1, 2, 3):
            when = datetime(2026, 3, day, 12, tzinfo=UTC)
            conversation = make_conversation(title=str(day), last_activity=when)
            make_reply(conversation, id=first_of(when.timestamp()))

    def test_the_days_of_both_ends_belong_to_it(self):
        for query, titles in (
            ({"from": "2026-03-02"}, ["3", "2"]),
            ({"until": "2026-03-02"}, ["2", "1"]),
            ({"from": "2026-03-02", "until": "2026-03-02"}, ["2"]),
            ({"from": "2026-03-03", "until": "2026-03-01"}, []),
            ({"from": "", "until": ""}, ["3", "2", "1"]),
        ):
            with self.subTest(query):
                assert self.titles(**query) == titles
                assert [each.conversation.title for each in self.rows(REPLIES, **query)] == titles

    def test_days_begin_in_the_time_zone(self):
        with timezone.override("Pacific/Auckland"), override_settings(TIME_ZONE="Pacific/Auckland"):
            # Noon in UTC is one in the morning of the next day there.
            assert self.titles(**{"from": "2026-03-02", "until": "2026-03-02"}) == ["1"]

    def test_it_goes_with_other_filters(self):
        Conversation.objects.filter(title="2").update(last_status="failed")

        assert self.titles(**{"from": "2026-03-01", "until": "2026-03-03", "last_status__exact": "failed"}) == ["2"]

    def test_what_is_not_a_date_finds_nothing_and_it_is_said(self):
        for text in HOSTILE_DATES:
            for name in ("from", "until"):
                for url in (LIST, REPLIES):
                    with self.subTest(text[:40], name=name, url=url):
                        response = self.client.get(url, {name: text})

                        assert response.status_code == 200
                        assert response.context["cl"].result_count == 0
                        assert "this is not a date" in response.content.decode()
                        assert "<script>alert" not in response.content.decode()

    def test_the_form_keeps_the_other_filters_and_no_page(self):
        form = re.search(
            r'<form method="get">.*?</form>',
            self.client.get(LIST, {"from": "2026-03-01", "model": '"><x', "p": "1"}).content.decode(),
            re.DOTALL,
        )[0]

        assert '<input type="hidden" name="model" value="&quot;&gt;&lt;x">' in form
        assert 'name="from" value="2026-03-01"' in form
        assert 'name="p"' not in form

    def test_an_export_with_an_invalid_date_has_no_conversation(self):
        self.client.force_login(make_staff("exporter", "view_conversation", "view_transcript", "export_transcript"))
        response = self.client.post(f"{LIST}export/jsonl/?from=2026-02-30")

        assert b"".join(response.streaming_content) == b""


class MetadataFilterTests(FilterTestCase):
    def setUp(self):
        super().setUp()
        make_conversation(title="a", metadata={"page": "/help/", "version": "1.4"})
        make_conversation(title="b", metadata={"page": "/help/", "version": 1.5})
        make_conversation(title="c", metadata={"page": "x" * 4_000})
        make_conversation(title="d", metadata={})
        make_conversation(title="e", metadata={"other": "/help/"})

    def test_conversations_are_found_by_page_and_version(self):
        for key, value, titles in (
            ("page", "/help/", ["b", "a"]),
            ("page", " /help/ ", ["b", "a"]),
            ("version", "1.4", ["a"]),
            ("version", "1.5", ["b"]),
            ("page", "/HELP/", []),
            ("page", "x" * 200, ["c"]),
            ("page", "", ["e", "d", "c", "b", "a"]),
        ):
            with self.subTest(key=key, value=value):
                assert self.titles(**self.metadata(key, value)) == titles

    def test_any_value_is_only_a_value(self):
        for value in ("\0", "%", "_", "' OR 1=1 --", '"', "$.page", "=", "x" * 5_000, *HOSTILE.values()):
            for key in ("page", "version"):
                query = self.metadata(key, value)
                response = self.client.get(LIST, query)
                with self.subTest(key=key, value=value[:40]):
                    assert response.status_code == 200
                    assert "<script>alert" not in response.content.decode()
                    # NUL is no text: no filter.
                    assert response.context["cl"].result_count == (0 if query else 5)

    def test_no_other_key_can_be_asked_for(self):
        for key in ("other", "page'", "", "page.x", "\0", "$"):
            with self.subTest(key):
                assert self.titles(**self.metadata(key, "/help/")) == []

    def test_the_value_is_in_no_address(self):
        query = self.metadata("page", "/help/")

        assert set(query) == {"meta"}
        assert "help" not in query["meta"]
        page = self.client.get(LIST, query).content.decode()

        assert 'value="/help/"' in page
        assert not [url for url in re.findall(r'(?:href|action)="([^"]*)"', page) if "help" in url]

    def test_it_and_a_search_and_other_filters_keep_each_other(self):
        make_conversation(make_user("bo"), title="f", metadata={"page": "/help/"})
        query = self.metadata("page", "/help/", f"{LIST}find/?deleted=0&p=2")
        response = self.client.post(f"{LIST}find/?{'&'.join(f'{k}={v}' for k, v in query.items())}", {"q": "bo"})

        assert query["deleted"] == "0"
        assert [each.title for each in self.client.get(response["Location"]).context["cl"].result_list] == ["f"]

        both = parse_qs(urlsplit(response["Location"]).query)
        assert set(both) == {"deleted", "meta", "q", "p"}
        again = self.metadata("version", "1.4", response["Location"].replace(LIST, f"{LIST}find/"))
        assert again["q"] == both["q"][0]

    def test_another_session_does_not_have_it(self):
        query = self.metadata("page", "/help/")
        self.client.force_login(make_staff("other", "view_conversation", "view_transcript"))
        response = self.client.get(LIST, query)

        assert list(response.context["cl"].result_list) == []
        assert "This filter is no longer available." in response.content.decode()

    def test_the_access_record_says_what_was_asked_for(self):
        self.titles(**self.metadata("page", "/help/"))

        assert AccessRecord.objects.latest("pk").terms == f"{LIST}?meta=page=/help/"

    def test_without_the_right_to_read_it_is_not_there(self):
        query = self.metadata("page", "/help/")
        self.client.force_login(make_staff("clerk", "view_conversation"))
        for value in (query["meta"], self.metadata("page", "/help/")["meta"], "x"):
            response = self.client.get(LIST, {"meta": value})

            assert response.context["cl"].result_count == 5
            assert '<input type="text" name="meta"' not in response.content.decode()
            assert "/help/" not in response.content.decode()
        for lookup in (
            "metadata",
            "metadata__page",
            "metadata__page__startswith",
            "metadata__contains",
            "metadata__exact",
        ):
            assert self.client.get(LIST, {lookup: "/help/"}).status_code == 400

    def test_it_has_an_index(self):
        found = Conversation.objects.filter(Exact(JSONText("metadata", key="page"), "/help/"))
        plan = found.order_by("-last_activity", "-pk")[:50].explain()

        if connection.vendor == "sqlite":
            assert "USING INDEX streaming_chat_page_recent" in plan
            assert "TEMP B-TREE" not in plan


class DeletionFilterTests(FilterTestCase):
    def test_deleted_ones_and_others(self):
        make_conversation(title="a", deleted_at=Now())
        make_conversation(title="b")

        assert self.titles(deleted="1") == ["a"]
        assert self.titles(deleted="0") == ["b"]
        assert self.titles(deleted="x") == ["b", "a"]

    def test_it_has_an_index(self):
        plan = Conversation.objects.filter(deleted_at__isnull=False).order_by("-last_activity", "-pk")[:50].explain()

        if connection.vendor == "sqlite":
            assert "USING INDEX streaming_chat_deleted_recent" in plan


class NamesTests(FilterTestCase):
    def test_a_filter_and_its_choices_make_sense_on_their_own(self):
        page = self.text_of(LIST)

        assert "Live now" in page
        assert "By live replies" in page
        assert "By kind of owner" in page
        assert "By now" not in page


class ReturnTests(FilterTestCase):
    """The filters of the list survive the forms of a transcript that was opened from it."""

    permissions = ("view_conversation", "view_transcript", "stop_reply", "redact_transcript")

    def opened(self, conversation):
        """Open a transcript from the list with two filters."""
        page = self.client.get(transcript_url(conversation, _changelist_filters="deleted=0&model=demo:a"))
        return unescape(page.content.decode())

    def fields(self, page, action):
        form = next(form for form in re.findall(r"<form.*?</form>", page, re.DOTALL) if action in form)
        url = re.search(r'action="([^"]*)"', form)
        return url and url[1], dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))

    def assert_leads_back(self, location):
        """The transcript that follows leads to the filtered list."""
        assert parse_qs(urlsplit(location).query)["_changelist_filters"] == ["deleted=0&model=demo:a"]
        page = unescape(self.client.get(location).content.decode())

        assert f'href="{LIST}?deleted=0&model=demo:a"' in page

    def test_after_stop(self):
        conversation = make_live(make_conversation()).conversation
        url, form = self.fields(self.opened(conversation), "/stop/")

        self.assert_leads_back(self.client.post(url, form)["Location"])

    def test_after_redact_and_its_confirmation(self):
        reply = make_reply(make_conversation(), "Rosebud")
        url, form = self.fields(self.opened(reply.conversation), f"{reply.pk}/redact/")
        confirmation = unescape(self.client.post(url, form).content.decode())
        cancel = re.search(r'class="closelink" href="([^"]*)"', confirmation)[1]

        self.assert_leads_back(cancel)
        _url, form = self.fields(confirmation, 'name="confirmed"')
        response = self.client.post(url, form)
        self.assert_leads_back(response["Location"])
        reply.refresh_from_db()

        assert reply.text != "Rosebud"

    def test_hostile_addresses_lead_nowhere_else(self):
        reply = make_reply(make_conversation())
        for text in ("//evil.example/", "x" * 5_000, "\0", "&".join(["a=b"] * 2_000), *HOSTILE.values()):
            page = self.client.get(transcript_url(reply.conversation, _changelist_filters=text)).content.decode()
            response = self.client.post(
                f"{LIST}{reply.conversation_id}/messages/{reply.pk}/redact/",
                {"back": f"_changelist_filters={text}", "confirmed": "yes"},
            )

            assert "<script>alert" not in page
            assert response.status_code in (302, 400)
            if response.status_code == 302:
                assert response["Location"].startswith(f"{LIST}{reply.conversation_id}/change/?")


class OwnerKeyTests(FilterTestCase):
    permissions = ("view_conversation", "view_transcript", "view_accessrecord")

    def test_the_access_records_of_an_owners_conversations_are_found_by_the_key(self):
        ana, bo = make_conversation(make_user("ana")), make_conversation(make_user("bo"))
        for conversation in (ana, bo):
            self.client.get(transcript_url(conversation))
        AccessRecord.objects.create(kind="erase", owner_key=ana.owner_key)
        records = "/admin/streaming_chat/accessrecord/"
        for words in (ana.owner_key, ana.owner_key.upper()):
            location = self.client.post(f"{records}find/", {"q": words})["Location"]
            found = self.client.get(location).context["cl"].result_list

            assert {(each.kind, each.conversation) for each in found} == {("erase", None), ("open", ana.pk)}

    def test_a_key_of_nobody(self):
        location = self.client.post(f"{LIST}find/", {"q": f"u:{uuid.uuid4()}"})["Location"]

        assert list(self.client.get(location).context["cl"].result_list) == []


class PresetDatesTests(FilterTestCase):
    def test_they_are_still_there(self):
        make_conversation(title="old", last_activity=Now() - timedelta(days=30))
        make_conversation(title="new")
        page = unescape(self.client.get(LIST).content.decode())
        week = re.search(r'href="(\?last_activity__gte=[^"]*)">Past 7 days', page)[1]

        assert [each.title for each in self.client.get(f"{LIST}{week}").context["cl"].result_list] == ["new"]
