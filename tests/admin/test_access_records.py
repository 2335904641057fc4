"""Who read a person's conversations: the access records answer it, before and after an erasure, and can be exported."""

import csv
import io
import json
import uuid
from itertools import cycle, islice

from django.core.management import call_command
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming_chat.db.hooks import SavedText
from streaming_chat.exports import access_records
from streaming_chat.models import AccessedOwner, AccessRecord, Conversation, Feedback
from streaming_chat.privacy.audit import record
from streaming_chat.search import entries
from tests.admin.base import LIST, READER, transcript_url
from tests.admin.searching import keep, kept
from tests.factories import make_conversation, make_reply, make_staff, make_user

RECORDS = "/admin/streaming_chat/accessrecord/"
FEEDBACK = "/admin/streaming_chat/feedback/"
EXPORTER = (*READER, "export_transcript")


def said(text, owner="ana"):
    """Return a conversation with a reply that the search finds."""
    reply = make_reply(make_conversation(make_user(owner)), text)
    entries.add([SavedText(reply.conversation_id, reply.pk, True, reply.text)], "default")
    return reply.conversation


class RecordsTestCase(TestCase):
    permissions = ("view_accessrecord",)

    @classmethod
    def setUpTestData(cls):
        cls.conversation = said("Rosebud")
        cls.key = cls.conversation.owner_key

    def setUp(self):
        self.sign_in("auditor", *self.permissions)

    def sign_in(self, name, *permissions):
        self.client.force_login(make_staff(name, *permissions))

    def shown(self, **query):
        """Return the records of all pages of the list."""
        response = self.client.get(RECORDS, query)

        assert response.status_code == 200
        return list(response.context["cl"].queryset)

    def export(self, form="jsonl", **query):
        response = self.client.post(f"{RECORDS}export/{form}/", query_params=query)

        assert response.status_code == 200
        return b"".join(response.streaming_content).decode()

    def rows(self, **query):
        return [json.loads(line) for line in self.export(**query).splitlines()]


class WhoReadTests(RecordsTestCase):
    """Twenty readings of two conversations of ana's by three reviewers, between those of other people's."""

    READINGS = {"rita": 9, "sam": 7, "tom": 4}

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        first, second, other = cls.conversation, said("A sled"), said("Rosebud", "bo")
        Feedback.objects.create(message=second.head, value=-1, comment="No", owner_key=cls.key)
        readings = (
            lambda client: client.get(transcript_url(second)),
            lambda client: client.get(transcript_url(first, message=first.head_id)),
            lambda client: client.post(f"{LIST}{first.pk}/export/markdown/"),
            lambda client: client.get(f"{LIST}search/?q={keep(client, 'sled')}"),
            lambda client: client.get(FEEDBACK),
        )
        readers = [name for name, times in cls.READINGS.items() for _time in range(times)]
        for read, name in zip(islice(cycle(readings), 20), readers, strict=True):
            client = Client()
            client.force_login(make_staff(name, *EXPORTER, "review_conversation"))
            client.get(transcript_url(other))
            assert read(client).status_code == 200

    def assert_found(self, records):
        found = [row for row in records if row.kind != "erase"]

        assert len(found) == 20
        assert {name: [row.by_name for row in found].count(name) for name in self.READINGS} == self.READINGS

    def test_all_are_found_by_person_before_and_after_the_erasure(self):
        before = self.shown(owner_key=self.key)
        self.assert_found(before)
        call_command("eraseowner", "ana", stdout=io.StringIO())

        assert not Conversation.objects.filter(owner_key=self.key).exists()

        after = self.shown(owner_key=self.key)
        self.assert_found(after)
        assert [row.kind for row in after if row not in before] == ["erase"]

    def test_nor_does_a_deletion_take_them_away(self):
        make_user("ana").delete()

        assert not Conversation.objects.filter(owner_key=self.key).exists()
        self.assert_found(self.shown(owner_key=self.key))

    def test_by_the_search_box_too(self):
        self.assert_found(self.shown(q=keep(self.client, self.key.upper(), RECORDS)))

    def test_the_page_says_who_and_how_often(self):
        response = self.client.get(RECORDS, {"owner_key": self.key})
        page = response.content.decode()

        assert response.context["readers"] == list(self.READINGS.items())
        for name, times in self.READINGS.items():
            assert f"<bdi>{name}</bdi> ({times})" in page
        assert "readers" not in self.client.get(RECORDS).context

    def test_by_person_and_by_what_was_done(self):
        assert {row.kind for row in self.shown(owner_key=self.key)} == {"open", "export", "search", "list"}
        assert len(self.shown(owner_key=self.key, kind__exact="open")) == 8

    def test_of_one_conversation(self):
        found = self.shown(conversation=str(self.conversation.pk))

        assert {row.kind for row in found} == {"open", "export"}
        assert {row.owner_key for row in found} == {self.key}
        assert len(found) == 8

    def test_as_files(self):
        call_command("eraseowner", "ana", stdout=io.StringIO())
        ids = sorted(row.pk for row in self.shown(owner_key=self.key))

        assert [row["id"] for row in self.rows(owner_key=self.key)] == ids
        lines = csv.DictReader(io.StringIO(self.export("csv", owner_key=self.key)))
        assert [int(line[next(iter(line))]) for line in lines] == ids

    def test_files_have_the_reason_of_a_redaction(self):
        record("redact_part", "rita", conversation=self.conversation.pk, reason="GDPR")

        assert [row["reason"] for row in self.rows(kind__exact="redact_part")] == ["GDPR"]


class OwnersTests(RecordsTestCase):
    """Which owners a record names."""

    def setUp(self):
        super().setUp()
        self.other = said("Rosebud", "bo")
        self.sign_in("rita", *EXPORTER, "stop_reply", "redact_transcript")

    def named(self, kind):
        """Return the owners of the one record of this kind."""
        (found,) = AccessRecord.objects.filter(kind=kind)
        return sorted({found.owner_key, *found.owners.values_list("owner_key", flat=True)} - {""})

    def test_a_transcript(self):
        self.client.get(transcript_url(self.conversation))

        assert self.named("open") == [self.key]

    def test_a_redaction(self):
        address = f"{LIST}{self.conversation.pk}/messages/{self.conversation.head_id}/redact/"
        self.client.post(address, {"confirmed": "yes"})

        assert self.named("redact") == [self.key]

    def test_the_passages_that_a_search_has_found(self):
        said("Nothing", "cleo")
        key = keep(self.client, "Rosebud")
        self.client.get(f"{LIST}search/?q={key}")

        assert self.named("search") == sorted([self.key, self.other.owner_key])

    def test_the_export_of_a_list(self):
        for _conversation in range(3):
            make_conversation()
        erased = make_conversation()
        Conversation.objects.filter(pk=erased.pk).update(owner=None, owner_key="", erased_at=timezone.now())
        self.client.post(f"{LIST}export/jsonl/")

        assert self.named("export") == sorted([self.key, self.other.owner_key])
        assert AccessedOwner.objects.count() == 2

    def test_the_export_of_selected_conversations_has_a_record_for_each(self):
        form = {"action": "export_csv", "index": "0", "_selected_action": [self.conversation.pk, self.other.pk]}
        self.client.post(LIST, form)
        found = AccessRecord.objects.filter(kind="export")

        assert dict(found.values_list("conversation", "owner_key")) == {
            self.conversation.pk: self.key,
            self.other.pk: self.other.owner_key,
        }

    def test_the_command_that_exports(self):
        call_command("exporttranscripts", "--output", "-", stdout=io.StringIO())

        assert self.named("export") == sorted([self.key, self.other.owner_key])

    def test_a_page_of_titles_names_nobody(self):
        self.client.get(LIST)

        assert self.named("list") == []

    def test_what_was_opened_after_the_erasure_is_nobodys(self):
        call_command("eraseowner", "ana", stdout=io.StringIO())
        self.client.get(transcript_url(self.conversation))

        assert self.named("open") == []


class FilterTests(RecordsTestCase):
    def test_what_is_no_key_finds_nothing(self):
        record("open", "rita", conversation=self.conversation.pk)
        for text in ("x", "ana", "u:", "u:'; --", "v:\0", "\0", "u:" + "1" * 5_000):
            with self.subTest(text[:10]):
                assert self.shown(owner_key=text) == []
        assert len(self.shown(owner_key="")) == 1
        assert len(self.shown(owner_key=f" {self.key} ")) == 1

    def test_an_id_that_is_none_is_refused_as_django_does(self):
        assert self.client.get(RECORDS, {"conversation": "x"}).status_code == 302
        assert self.shown(conversation=str(uuid.uuid4())) == []

    def test_the_form_keeps_the_other_filters(self):
        page = self.client.get(RECORDS, {"kind__exact": "open", "owner_key": self.key, "p": "1"}).content.decode()

        assert '<input type="hidden" name="kind__exact" value="open">' in page
        assert f'name="owner_key" value="{self.key}"' in page

    def test_a_million_records_would_take_as_many_queries(self):
        for number in range(60):
            record("open", make_staff(f"staff{number % 3}"), conversation=self.conversation.pk)
            record("search", make_staff("staff"), owner_keys=[self.key, "u:0"])
        with CaptureQueriesContext(connection) as queries:
            assert len(self.shown(owner_key=self.key)) == 120

        assert len(queries) <= 10

    def test_each_filter_and_search_has_an_index(self):
        """What there is seldom, or not at all, would otherwise be looked for among all records."""
        if connection.vendor != "sqlite":
            return
        for query, index in (
            ({"kind__exact": "block"}, "streaming_chat_access_kind"),
            (kept(self.client, {"q": "nobody"}, RECORDS), "streaming_chat_access_by"),
            (kept(self.client, {"q": str(uuid.uuid4())}, RECORDS), "streaming_chat_access_message"),
        ):
            with self.subTest(index):
                plan = self.client.get(RECORDS, query).context["cl"].queryset[:100].explain()

                assert index in plan
                assert "SCAN" not in plan

    def test_each_owner_leads_to_their_records(self):
        record("open", "rita", conversation=self.conversation.pk)
        page = self.client.get(RECORDS).content.decode()

        assert f'href="{RECORDS}?owner_key=u%3A{self.key[2:]}"' in page


class LinkTests(RecordsTestCase):
    permissions = ("view_accessrecord", *READER)

    def links(self, conversation):
        page = self.client.get(transcript_url(conversation)).content.decode()
        return [name for name in ("who read this conversation", "who read this owner’s conversations") if name in page]

    def test_from_a_transcript(self):
        page = self.client.get(transcript_url(self.conversation)).content.decode()

        assert f'href="{RECORDS}?conversation={self.conversation.pk}"' in page
        assert f'href="{RECORDS}?owner_key=u%3A{self.key[2:]}"' in page

    def test_of_an_erased_conversation_only_the_first(self):
        """It leads to the records of the conversation, which have the key."""
        call_command("eraseowner", "ana", stdout=io.StringIO())

        assert self.links(self.conversation) == ["who read this conversation"]

    def test_for_users_who_may_see_the_records(self):
        self.sign_in("rita", *READER)

        assert self.links(self.conversation) == []


class ExportTests(RecordsTestCase):
    def setUp(self):
        super().setUp()
        self.made = [
            record("open", make_staff("rita"), conversation=self.conversation.pk, message=self.conversation.head_id),
            record("search", "=cmd", terms="Rosebud"),
            record("export", make_staff("sam"), owner_key="v:1", terms="p=2", count=3),
        ]

    def test_jsonl_says_what_the_records_say(self):
        expected = [
            {
                "id": row.pk,
                "at": row.at.isoformat(),
                "by_name": row.by_name,
                "kind": row.kind,
                "conversation": row.conversation and str(row.conversation),
                "message": row.message and str(row.message),
                "owner_key": row.owner_key,
                "count": row.count,
                "reason": row.reason,
            }
            for row in AccessRecord.objects.order_by("pk")
        ]

        assert self.rows() == expected

    def test_csv_says_the_same_and_holds_no_formula(self):
        text = self.export("csv")
        opened, sought, exported = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))

        assert text.startswith("\ufeff")
        assert (opened["by_name"], opened["message"]) == ("rita", str(self.conversation.head_id))
        assert (sought["by_name"], sought["conversation"], sought["count"]) == ("'=cmd", "", "")
        assert (exported["owner_key"], exported["count"]) == ("v:1", "3")

    def test_search_terms_are_for_users_who_may_export_texts(self):
        for permissions in ((), READER, ("view_conversation", "export_transcript")):
            self.sign_in("other", "view_accessrecord", *permissions)

            assert all("terms" not in row for row in self.rows())
            assert "Rosebud" not in self.export("csv")
        self.sign_in("exporter", "view_accessrecord", *EXPORTER)

        assert [row["terms"] for row in self.rows() if row["kind"] == "search"] == ["Rosebud"]
        assert "Rosebud" in self.export("csv")

    def test_it_is_recorded_first_and_is_not_in_the_file(self):
        found = self.rows(kind__exact="export")
        saved = AccessRecord.objects.latest("pk")

        assert [row["id"] for row in found] == [self.made[2].pk]
        assert (saved.kind, saved.by_name, saved.count) == ("export", "auditor", 1)
        assert saved.terms == f"{RECORDS}export/jsonl/?kind__exact=export"

    def test_many_pages(self):
        self.addCleanup(setattr, access_records, "_PAGE_SIZE", access_records._PAGE_SIZE)
        access_records._PAGE_SIZE = 2

        assert [row["id"] for row in self.rows()] == [row.pk for row in self.made]

    def test_what_there_is_not(self):
        assert self.client.post(f"{RECORDS}export/xlsx/").status_code == 404
        assert self.client.post(f"{RECORDS}export/csv/?terms__startswith=R").status_code == 400
        assert AccessRecord.objects.count() == 3

    def test_the_buttons_keep_the_filters(self):
        page = self.client.get(RECORDS, {"owner_key": self.key, "kind__exact": "open"}).content.decode()
        query = f"?owner_key=u%3A{self.key[2:]}&amp;kind__exact=open"

        for form in ("jsonl", "csv"):
            assert f'action="{RECORDS}export/{form}/{query}"' in page

    def test_without_the_permission(self):
        self.sign_in("rita", *EXPORTER)

        assert self.client.post(f"{RECORDS}export/csv/").status_code == 403
