"""Who of the staff read what is on record, before anything is shown."""

from io import StringIO

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from streaming_chat.accounts.owners import user_key
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.privacy.audit import record
from tests.admin.searching import kept
from tests.factories import make_conversation, make_reply, make_staff, make_user
from tests.hostile import HOSTILE

LIST = "/admin/streaming_chat/accessrecord/"
READER = ("view_conversation", "view_transcript")


def open_transcript(client, conversation, **query):
    url = reverse("admin:streaming_chat_conversation_change", args=[conversation.pk], query=query)
    return client.get(url)


class OpeningTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation, "Rosebud")

    def sign_in(self, *permissions):
        self.staff = make_staff("reviewer", *permissions)
        self.client.force_login(self.staff)

    def test_it_says_who_read_what(self):
        self.sign_in(*READER)
        open_transcript(self.client, self.conversation)
        open_transcript(self.client, self.conversation, message=self.reply.pk)
        first, second = AccessRecord.objects.order_by("pk")

        assert (first.kind, first.by, first.by_name) == ("open", self.staff, "reviewer")
        assert (first.conversation, first.message) == (self.conversation.pk, None)
        assert second.message == self.reply.pk

    def test_what_is_not_there_was_not_read(self):
        self.sign_in(*READER)
        self.client.get(f"/admin/streaming_chat/conversation/{self.reply.pk}/change/")

        assert not AccessRecord.objects.exists()

    def test_without_a_record_nothing_is_shown(self):
        self.sign_in(*READER)
        self.client.raise_request_exception = False
        with connection.execute_wrapper(refuse_records):
            response = open_transcript(self.client, self.conversation)

        assert response.status_code == 500
        assert b"Rosebud" not in response.content

    def test_it_outlives_what_it_is_about_and_who_it_was(self):
        self.sign_in(*READER)
        open_transcript(self.client, self.conversation)
        pk = self.conversation.pk
        Conversation.objects.all().delete()
        self.staff.delete()
        kept = AccessRecord.objects.get()

        assert (kept.conversation, kept.by, kept.by_name) == (pk, None, "reviewer")


class ListingTests(TestCase):
    """A list of titles is read, too."""

    def setUp(self):
        make_reply(make_conversation(), "Rosebud")
        make_reply(make_conversation(title="Sled"))

    def list(self, *permissions, **query):
        self.client.force_login(make_staff("reviewer", *permissions))
        return self.client.get("/admin/streaming_chat/conversation/", query)

    def test_it_says_which_list_and_how_many_rows(self):
        self.list(*READER, owned_by="user")
        [made] = AccessRecord.objects.all()

        assert (made.kind, made.by_name, made.count) == ("list", "reviewer", 2)
        assert made.terms == "/admin/streaming_chat/conversation/?owned_by=user"

    def test_it_says_what_was_searched_for(self):
        self.client.force_login(make_staff("reviewer", *READER))
        query = kept(self.client, {"owned_by": "user", "q": str(Conversation.objects.first().pk)})
        self.client.get("/admin/streaming_chat/conversation/", query)
        [made] = AccessRecord.objects.all()

        assert made.terms.endswith(f"?owned_by=user&q={Conversation.objects.first().pk}")

    def test_without_a_record_nothing_is_shown(self):
        self.client.raise_request_exception = False
        with connection.execute_wrapper(refuse_records):
            response = self.list(*READER)

        assert response.status_code == 500
        assert b"Sled" not in response.content

    def test_without_rows_nothing_was_read(self):
        self.list(*READER, owned_by="visitor")

        assert not AccessRecord.objects.exists()

    def test_whom_it_names_is_gone_once_they_are_erased(self):
        key = user_key(make_user())
        self.list(*READER, owner_key=key)

        assert key in AccessRecord.objects.get().terms
        call_command("eraseowner", "ana", stdout=StringIO())
        assert not AccessRecord.objects.filter(terms__contains=key).exists()


def refuse_records(execute, sql, params, many, context):
    if "accessrecord" in sql and sql.startswith("INSERT"):
        raise DatabaseError("the disk is full")
    return execute(sql, params, many, context)


class ListTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.record = record(
            "search", make_staff("curious"), conversation=self.conversation.pk, terms="Rosebud", count=3
        )

    def rows(self, *permissions, **query):
        self.client.force_login(make_staff(f"auditor{len(permissions)}", *permissions))
        response = self.client.get(LIST, kept(self.client, query, LIST))
        assert response.status_code == 200
        return response

    def test_it_says_who_did_what_and_when(self):
        page = self.rows("view_accessrecord", "view_transcript").content.decode()

        for said in ("curious", "searched", "Rosebud", str(self.conversation.pk)):
            assert said in page

    def test_it_is_found_by_what_it_was_about_and_who_it_was(self):
        for term in (str(self.conversation.pk), "curious"):
            assert self.rows("view_accessrecord", q=term).context["cl"].result_count == 1
        for term in ("Rosebud", "nobody"):
            assert self.rows("view_accessrecord", "view_transcript", q=term).context["cl"].result_count == 0

    def test_it_takes_the_same_queries_for_any_number(self):
        self.client.force_login(make_staff("auditor", "view_accessrecord", "view_transcript"))
        with CaptureQueriesContext(connection) as few:
            self.client.get(LIST)
        for number in range(30):
            record("open", make_staff(f"staff{number}"), conversation=self.conversation.pk)
        with CaptureQueriesContext(connection) as many:
            self.client.get(LIST)

        assert len(few) == len(many) <= 10

    def test_what_was_sought_is_escaped(self):
        for text in HOSTILE.values():
            record("search", text[:255], terms=text)
        page = self.rows("view_accessrecord", "view_transcript").content.decode()

        assert "<img src=x" not in page
        assert "<script>alert" not in page
