"""Downloads from the admin: by whom, of what, and that each leaves a record before its first byte."""

import csv
import io
import json
import re
import uuid

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from streaming_chat.db.hooks import SavedText
from streaming_chat.exports import rows
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.review.verdicts import VerdictChange
from streaming_chat.search import entries
from tests.admin.searching import kept
from tests.factories import make_conversation, make_message, make_reply, make_staff
from tests.review.factories import finish, make_reviewer, make_waiting

LIST = "/admin/streaming_chat/conversation/"
EXPORTER = ("view_conversation", "view_transcript", "export_transcript")


def select(*conversations, action="export_jsonl", **fields):
    """Return the form that the list sends."""
    return {"action": action, "_selected_action": [str(one.pk) for one in conversations], "index": "0", **fields}


def body(response):
    return b"".join(response.streaming_content).decode()


class ExportTestCase(TestCase):
    permissions = EXPORTER

    def setUp(self):
        self.staff = make_staff("staff", *self.permissions)
        self.client.force_login(self.staff)

    def records(self):
        exported = AccessRecord.objects.filter(kind="export").order_by("pk")
        return list(exported.values_list("kind", "by_name", "conversation", "terms", "count"))

    def titles(self, response):
        assert response.status_code == 200
        return [json.loads(line)["title"] for line in body(response).splitlines()]


class SelectionTests(ExportTestCase):
    def test_the_selected_conversations_are_downloaded_and_no_others(self):
        a, _b, c = (make_conversation(title=title) for title in "abc")

        assert self.titles(self.client.post(LIST, select(a, c))) == ["a", "c"]

    def test_as_csv(self):
        conversation = make_conversation()
        make_reply(conversation, "=1+1")
        response = self.client.post(LIST, select(conversation, action="export_csv"))
        rows = list(csv.DictReader(io.StringIO(body(response).removeprefix("\ufeff"))))

        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert [row["text"] for row in rows] == ["Will it rain?", "'=1+1"]

    def test_each_conversation_has_a_record(self):
        a, b = make_conversation(), make_conversation()
        self.client.post(LIST, select(a, b))

        assert {(kind, by, pk) for kind, by, pk, _terms, _count in self.records()} == {
            ("export", "staff", a.pk),
            ("export", "staff", b.pk),
        }

    def test_all_that_the_filters_leave(self):
        make_conversation(title="a", last_status="failed")
        make_conversation(title="b")
        make_conversation(title="c", last_status="failed")
        shown = Conversation.objects.get(title="a")
        url = f"{LIST}?last_status__exact=failed"
        response = self.client.post(url, select(shown, select_across="1"))

        assert self.titles(response) == ["a", "c"]
        assert self.records() == [("export", "staff", None, "last_status__exact=failed", 2)]

    def test_nothing_selected_changes_nothing(self):
        make_conversation()

        assert self.client.post(LIST, select()).status_code == 302
        assert self.records() == []

    def test_files_are_named_by_date_and_never_by_text(self):
        response = self.client.post(LIST, select(make_conversation(title="Rain in Lisbon")))

        assert re.fullmatch(
            r'attachment; filename="transcripts-\d{4}-\d\d-\d\d-\d{4}\.jsonl"', response["Content-Disposition"]
        )
        assert "no-store" in response["Cache-Control"]
        assert response["X-Content-Type-Options"] == "nosniff"


class ReviewsTests(ExportTestCase):
    """What reviewers recorded is exported by reviewers only, in every format and at every address."""

    def files(self, conversation):
        """Return every file that has this conversation."""
        for action in ("export_jsonl", "export_csv"):
            yield self.client.post(LIST, select(conversation, action=action))
            yield self.client.post(LIST, select(conversation, action=action, select_across="1"))
        for form in ("jsonl", "csv"):
            yield self.client.post(reverse("admin:streaming_chat_conversation_export_list", args=[form]))
        for form in ("jsonl", "csv", "markdown"):
            yield self.client.post(reverse("admin:streaming_chat_conversation_export", args=[conversation.pk, form]))

    def test_others_get_nothing_of_it(self):
        conversation = make_waiting()
        finish(conversation, make_reviewer(), notes="Saw it.", verdicts={None: VerdictChange("unsafe")})
        for permissions, has_reviews in ((EXPORTER, False), ((*EXPORTER, "review_conversation"), True)):
            self.client.force_login(make_staff(f"staff {has_reviews}", *permissions))
            for file in map(body, self.files(conversation)):
                for text in ("Saw it.", "unsafe", "rita"):
                    assert (text in file) == has_reviews


class DatasetTests(ExportTestCase):
    permissions = (*EXPORTER, "review_conversation")

    def export(self, form, **query):
        return self.client.post(reverse("admin:streaming_chat_conversation_export_list", args=[form], query=query))

    def test_judged_replies_of_the_list_are_downloaded(self):
        for title, value in (("one", "good"), ("two", "bad")):
            conversation = make_waiting(title=title)
            change = VerdictChange(value, correction="No." if value == "bad" else "")
            finish(conversation, self.staff, verdicts={conversation.messages.get(role="assistant").pk: change})
        training, evaluation = self.export("training"), self.export("evaluation", verdict="bad")

        assert re.fullmatch(r'attachment; filename="training-[\d-]+\.jsonl"', training["Content-Disposition"])
        answers = [json.loads(line)["messages"][-1]["content"] for line in body(training).splitlines()]
        assert answers == ["Yes, **today**.", "No."]
        assert [json.loads(line)["verdict"] for line in body(evaluation).splitlines()] == ["bad"]
        assert self.records() == [("export", "staff", None, "", 2), ("export", "staff", None, "verdict=bad", 1)]

    def test_only_reviewers_may(self):
        self.client.force_login(make_staff("nina", *EXPORTER))

        assert self.export("training").status_code == 403
        assert self.export("other").status_code == 404
        assert "/export/training/" not in self.client.get(LIST).content.decode()


class ListTests(ExportTestCase):
    def export(self, form="jsonl", **query):
        query = kept(self.client, query)
        return self.client.post(reverse("admin:streaming_chat_conversation_export_list", args=[form], query=query))

    def test_what_the_list_shows_is_downloaded_on_all_of_its_pages(self):
        for number in range(60):
            make_conversation(title=f"{number:02}", model="demo:demo" if number else "other")

        assert self.titles(self.export(q="ana", p="2")) == [f"{number:02}" for number in range(60)]
        assert self.titles(self.export(owner_key="v:1")) == []
        assert self.records()[0] == ("export", "staff", None, "p=2", 60)

    def test_what_was_sought_in_texts_is_on_record_as_that_and_once(self):
        """A redaction takes it from there, and from nowhere else."""
        said = make_reply(make_conversation(), "Rosebud")
        entries.add([SavedText(said.conversation_id, said.pk, True, said.text)], "default")
        self.export(q="Rosebud")
        self.client.get(LIST, kept(self.client, {"q": "Rosebud"}))
        records = list(AccessRecord.objects.order_by("pk").values_list("kind", "terms"))

        assert records == [("search", "Rosebud"), ("export", ""), ("search", "Rosebud")]

    def test_what_the_list_does_not_take_is_refused(self):
        """A filter that would spell out a column, a format that there is not."""
        make_conversation()

        assert self.export(title__startswith="R").status_code == 400
        assert self.export("xlsx").status_code == 404
        assert self.export("markdown").status_code == 404
        assert self.records() == []

    def test_the_list_has_a_button_for_it_under_the_same_query(self):
        make_conversation()
        query = kept(self.client, {"q": "ana&x", "o": "-4"})
        page = self.client.get(LIST, query).content.decode()

        assert f'action="{LIST}export/jsonl/?q={query["q"]}&amp;o=-4"' in page

    def test_a_search_that_is_gone_exports_nothing(self):
        make_conversation()
        response = self.client.post(f"{LIST}export/jsonl/?q=gone")

        assert self.titles(response) == []

    def test_more_rows_are_more_pages_and_no_more_queries(self):
        make_reply(make_conversation())
        # Looks up what is remembered for the process.
        body(self.export())
        with CaptureQueriesContext(connection) as queries:
            body(self.export())
        for _number in range(9):
            make_reply(make_conversation())
        with self.assertNumQueries(len(queries)):
            body(self.export())


class TranscriptTests(ExportTestCase):
    def export(self, conversation, form, **fields):
        return self.client.post(f"{LIST}{conversation.pk}/export/{form}/", fields)

    def test_one_as_markdown(self):
        conversation = make_conversation()
        make_reply(conversation, "Yes, **today**.")
        response = self.export(conversation, "markdown")

        assert response["Content-Type"] == "text/markdown; charset=utf-8"
        assert response["Content-Disposition"] == f'attachment; filename="conversation-{conversation.pk}.md"'
        assert "Yes, **today**." in body(response)
        assert self.records() == [("export", "staff", conversation.pk, "", 1)]

    def test_the_branch_that_is_shown(self):
        conversation = make_conversation()
        asked = make_message(conversation)
        first = make_reply(conversation, "First", parent=asked)
        make_reply(conversation, "Second", parent=asked)
        page = self.client.get(f"{LIST}{conversation.pk}/change/?message={first.pk}").content.decode()
        text = body(self.export(conversation, "markdown", message=str(first.pk)))

        assert f'name="message" value="{first.pk}"' in page
        assert "First" in text
        assert "Second" not in text

    def test_all_branches_as_jsonl(self):
        conversation = make_conversation()
        make_reply(conversation, "First")
        make_conversation()

        assert self.titles(self.export(conversation, "jsonl")) == ["Rain in Lisbon"]

    def test_what_is_not_there(self):
        conversation = make_conversation()

        assert self.client.post(f"{LIST}{uuid.uuid4()}/export/jsonl/").status_code == 404
        assert self.export(conversation, "xlsx").status_code == 404
        assert self.export(conversation, "markdown", message="x").status_code == 404
        assert self.records() == []


class RecordFirstTests(TransactionTestCase):
    def test_the_record_is_committed_before_a_text_is_read(self):
        conversation = make_conversation()
        make_reply(conversation)
        self.client.force_login(make_staff("staff", *EXPORTER))
        requests = (
            (LIST, select(conversation)),
            (f"{LIST}export/csv/", {}),
            (f"{LIST}{conversation.pk}/export/markdown/", {}),
        )
        for number, (url, fields) in enumerate(requests, start=1):
            with self.subTest(url), CaptureQueriesContext(connection) as queries:
                response = self.client.post(url, fields)
                read = [query["sql"] for query in queries if '"text"' in query["sql"]]

                assert AccessRecord.objects.count() == number
                assert not connection.in_atomic_block
                assert read == []
                assert "Will it rain?" in body(response)

    def test_without_a_record_there_is_no_file(self):
        conversation = make_conversation()
        self.client.force_login(make_staff("staff", *EXPORTER))
        self.client.raise_request_exception = False
        with connection.schema_editor() as editor:
            editor.alter_db_table(AccessRecord, "streaming_chat_accessrecord", "hidden")
        try:
            response = self.client.post(f"{LIST}{conversation.pk}/export/jsonl/")
        finally:
            with connection.schema_editor() as editor:
                editor.alter_db_table(AccessRecord, "hidden", "streaming_chat_accessrecord")

        assert response.status_code == 500
        assert not response.streaming


class AsgiTests(TestCase):
    async def test_pieces_are_made_one_after_the_other(self):
        """Django would make a list of a plain iterator: the whole export in memory."""
        self.addCleanup(setattr, rows, "CONVERSATIONS", rows.CONVERSATIONS)
        rows.CONVERSATIONS = 1
        client = AsyncClient()

        def prepare():
            for _number in range(3):
                make_reply(make_conversation())
            return make_staff("staff", *EXPORTER)

        await client.aforce_login(await sync_to_async(prepare)())
        response = await client.post(f"{LIST}export/jsonl/")

        assert response.is_async
        assert len([piece async for piece in response.streaming_content]) >= 3


class ActionTests(TestCase):
    def test_those_of_the_site_are_none_of_this_list(self):
        self.client.force_login(get_user_model().objects.create_superuser("root"))
        page = self.client.get(LIST).content.decode()

        chosen = re.search(r'<select name="action".*?</select>', page, re.DOTALL)[0]
        actions = re.findall(r'<option value="(\w+)"', chosen)

        assert actions == ["mark_done", "assign_to_me", "reopen_reviews", "export_jsonl", "export_csv"]
        assert self.client.post(LIST, select(make_conversation(), action="delete_selected")).status_code == 405
