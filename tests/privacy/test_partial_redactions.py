"""Redacting passages: which rows change, what is recorded, and that no copy of a passage is left."""

import json
import tempfile

from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import reverse

from streaming_chat.engine.ending_journal import journal
from streaming_chat.models import (
    AccessRecord,
    Conversation,
    Feedback,
    Message,
    ModelTitle,
    ProviderState,
    ReplyEvent,
    Review,
    ReviewNotes,
    SearchEntry,
    Verdict,
)
from streaming_chat.notifiers import get_notifier
from streaming_chat.privacy.audit import record
from streaming_chat.privacy.occurrences import Scope, preview
from streaming_chat.privacy.partial_redactions import redact_passages
from streaming_chat.privacy.passages import REDACTED, Passages
from streaming_chat.privacy.redactions import StillLiveError, redact
from streaming_chat.protocol.events import Event
from streaming_chat.search.tokenizer import words
from streaming_chat.testing import Streamed, read_stream
from tests.copies import CANARY, keys, leave_in_journal, leave_what_is_deleted, places, planted
from tests.factories import make_call, make_conversation, make_live, make_message, make_reply, make_staff
from tests.native import ApiTestCase
from tests.servers import wait_until
from tests.valkey import Valkey

LIST = "/admin/streaming_chat/conversation/"
SECRET = Passages.with_text("Rosebud")


class RedactPassagesTests(TestCase):
    def setUp(self):
        self.staff = make_staff("staff")
        self.conversation = make_conversation(title="Rosebud in Lisbon", metadata={"page": "Rosebud"})
        self.asked = make_message(self.conversation, "Rosebud in Lisbon?", send_key="k", body_digest="d")
        self.reply = make_reply(self.conversation, "Yes, Rosebud, today.", input_tokens=3)
        self.other = make_reply(self.conversation, "Rosebud again.")

    def redact(self, message=None, **options):
        scope = Scope(self.conversation.pk, SECRET, message and message.pk)
        changed = redact_passages(scope, self.staff, **{"reason": "Asked for by the owner", **options})
        for row in (self.conversation, self.asked, self.reply, self.other):
            row.refresh_from_db()
        return changed

    def test_in_one_message(self):
        assert self.redact(self.reply) == 1
        assert self.reply.text == f"Yes, {REDACTED}, today."
        assert self.reply.parts == [{"kind": "text", "text": f"Yes, {REDACTED}, today."}]
        assert self.reply.position == 1 + len(self.reply.text)
        assert (self.reply.redacted_by, self.reply.is_partly_redacted, self.reply.input_tokens) == ("staff", True, 3)
        assert (self.asked.text, self.other.text) == ("Rosebud in Lisbon?", "Rosebud again.")
        assert self.asked.redacted_at is None
        assert self.conversation.metadata == {"page": "Rosebud"}

    def test_in_the_whole_conversation(self):
        elsewhere = make_reply(make_conversation(), "Rosebud")
        assert self.redact() == 3
        assert self.asked.text == f"{REDACTED} in Lisbon?"
        assert (self.asked.send_key, self.asked.body_digest) == (None, "")
        assert self.other.text == f"{REDACTED} again."
        assert self.conversation.metadata == {"page": REDACTED}
        elsewhere.refresh_from_db()
        assert elsewhere.text == "Rosebud"

    def test_who_and_why_is_recorded(self):
        self.redact(reason="The owner has asked to remove ROSEBUD")
        found = AccessRecord.objects.get()

        assert (found.kind, found.by, found.conversation, found.message) == (
            "redact_part",
            self.staff,
            self.conversation.pk,
            None,
        )
        assert (found.count, found.reason) == (3, f"The owner has asked to remove {REDACTED}")

    def test_a_title_that_is_the_beginning_of_a_message_is_made_again(self):
        self.redact(self.asked)

        assert self.conversation.title == f"{REDACTED} in Lisbon?"

    def test_a_title_that_ends_within_a_passage(self):
        long = "word " * 11 + "Rosebud is here"
        Conversation.objects.filter(pk=self.conversation.pk).update(title="word " * 11 + "Rose…")
        Message.objects.filter(pk=self.asked.pk).update(text=long)
        self.redact(self.asked)

        assert "Rose" not in self.conversation.title
        assert self.conversation.title.startswith("word word")

    def test_a_title_by_a_model_goes_if_one_of_its_messages_has_changed(self):
        ModelTitle.objects.create(conversation=self.conversation, model="demo:demo", is_in_use=True)
        Conversation.objects.filter(pk=self.conversation.pk).update(title="A sledge")
        self.redact(self.other)
        assert self.conversation.title == "A sledge"

        self.redact(self.reply)

        assert self.conversation.title == ""
        assert not ModelTitle.objects.get().is_in_use

    def test_the_rest_can_be_found_and_the_passage_cannot(self):
        self.redact()
        entry = SearchEntry.objects.get(message=self.reply.pk)

        assert set(words("today")) <= set(entry.words)
        assert not set(words("Rosebud")) & set(entry.words)

    def test_notes_and_comments(self):
        Feedback.objects.create(message=self.reply, value=-1, comment="Not rosebud!", owner_key="u:1")
        Review.objects.create(conversation=self.conversation, notes="About Rosebud.", version=4)
        self.redact(self.reply)

        assert Feedback.objects.get().comment == f"Not {REDACTED}!"
        review = Review.objects.get()
        # The form of a reviewer that has the old notes is refused.
        assert (review.notes, review.version) == (f"About {REDACTED}.", 5)

    def test_the_history_of_notes_and_corrected_answers(self):
        for text in ("About Rosebud.", "Nothing"):
            ReviewNotes.objects.create(conversation=self.conversation, text=text, words=words(text))
        for message in (self.reply, self.other):
            Verdict.objects.create(
                conversation=self.conversation, message=message, value="bad", correction="Not Rosebud."
            )
        self.redact(self.reply)
        versions = ReviewNotes.objects.order_by("pk")

        assert [version.text for version in versions] == [f"About {REDACTED}.", "Nothing"]
        assert not set(words("Rosebud")) & set(versions[0].words)
        assert Verdict.objects.get(message=self.reply).correction == f"Not {REDACTED}."
        assert Verdict.objects.get(message=self.other).correction == "Not Rosebud."

    def test_what_cannot_be_changed_in_part_is_removed(self):
        for message in (self.reply, self.other):
            ReplyEvent.objects.create(message=message, position=1, kind="text", payload="Rosebud")
            ProviderState.objects.create(message=message, state="Rosebud")
        self.redact(self.reply)

        assert set(ReplyEvent.objects.values_list("message", flat=True)) == {self.other.pk}
        assert set(ProviderState.objects.values_list("message", flat=True)) == {self.other.pk}

    def test_the_rows_of_tool_calls_lose_the_passages_alone(self):
        answer = {"approved": True, "arguments": '{"word": "Rosebud"}', "reason": "Rosebud wants it"}
        call = make_call(
            self.reply, arguments='{"word": "Rosebud", "n": 1}', output="Found Rosebud here", answer=answer
        )
        invented = make_call(self.reply, "rosebud", call_id="rosebud", digest="", status="error")
        elsewhere = make_call(self.other, output="Rosebud")
        scope = Scope(self.conversation.pk, SECRET, self.reply.pk)
        shown = [found.passage for found in preview(scope, 20).shown if str(found.where) == "answer to a tool call"]
        self.redact(self.reply)
        for row in (call, invented, elsewhere):
            row.refresh_from_db()

        assert shown == ["Rosebud", "Rosebud"]
        assert json.loads(call.arguments) == {"word": REDACTED, "n": 1}
        assert (call.output, call.answer["reason"]) == (f"Found {REDACTED} here", f"{REDACTED} wants it")
        assert (call.name, call.digest, call.answer["approved"]) == ("refund", "d" * 64, True)
        assert not {"rosebud"} & {invented.name, invented.call_id}
        assert elsewhere.output == "Rosebud"

    def test_a_reply_and_its_continuation(self):
        beginning = make_reply(self.conversation, "It is Rose", end_reason="length")
        more = {"continues": beginning, "continued_at": 11, "parent": beginning.parent}
        whole = make_reply(self.conversation, "It is Rosebud.", **more)
        assert self.redact(whole) == 2
        beginning.refresh_from_db()
        whole.refresh_from_db()

        assert (beginning.text, whole.text) == (f"It is {REDACTED}", f"It is {REDACTED}.")
        assert not beginning.can_continue

    def test_again(self):
        assert self.redact() == 3
        assert self.redact() == 0
        assert redact_passages(Scope(self.conversation.pk, Passages.with_text("today")), self.staff, reason="r") == 1
        self.reply.refresh_from_db()
        assert self.reply.text == f"Yes, {REDACTED}, {REDACTED}."

    def test_the_whole_message_afterwards(self):
        self.redact()
        redact(self.reply.pk, self.staff)
        self.reply.refresh_from_db()

        assert (self.reply.text, self.reply.is_partly_redacted) == (REDACTED, False)

    def test_a_reply_that_is_being_written_would_bring_it_back(self):
        make_live(self.conversation, Event("text", "Rosebud"))
        with self.assertRaises(StillLiveError):
            self.redact()

        assert self.reply.text == "Yes, Rosebud, today."
        assert not AccessRecord.objects.exists()

        assert self.redact(self.reply) == 1

    def test_searches_that_are_about_it(self):
        searches = {terms: record("search", self.staff, terms=terms).pk for terms in ("rosebud", "osebu", "today")}
        longer = record("search", self.staff, terms="find Rosebud now").pk
        self.redact(self.reply)
        assert not AccessRecord.objects.filter(terms=REDACTED).exists()

        Message.objects.filter(pk=self.reply.pk).update(text="Rosebud", parts=[])
        self.redact(self.reply, terms=True)

        cleared = set(AccessRecord.objects.filter(terms=REDACTED).values_list("pk", flat=True))
        assert cleared == {searches["rosebud"], searches["osebu"], longer}

    def test_what_is_not_there(self):
        with self.assertRaises(Message.DoesNotExist):
            self.redact(make_reply(make_conversation()))
        assert not AccessRecord.objects.exists()

    def test_a_preview_counts_what_would_be_replaced_and_changes_nothing(self):
        Review.objects.create(conversation=self.conversation, notes="About Rosebud.")
        record("search", self.staff, terms="rosebud")
        found = preview(Scope(self.conversation.pk, SECRET), 2)

        # Title, metadata, notes and three messages.
        assert (found.count, len(found.shown), found.searches, found.is_live) == (6, 2, 1, False)
        assert [each.passage for each in found.shown] == ["Rosebud", "Rosebud"]
        assert "Rosebud" not in repr(found)
        self.reply.refresh_from_db()
        assert self.reply.text == "Yes, Rosebud, today."


class ResumeTests(ApiTestCase):
    def test_a_client_receives_the_rest_of_the_new_text_from_any_position(self):
        text = "A Rosebud, B Rosebud, C and D"
        cut = 1 + text.index(" and D")
        reply = make_reply(make_conversation(), text, status="stopped", end_reason="user", cut_position=cut)
        redact_passages(Scope(reply.conversation_id, SECRET, reply.pk), make_staff("staff"), reason="r")
        path = f"api/messages/{reply.pk}/events"
        whole = read_stream(self.api.get(path))

        assert whole.text == f"A {REDACTED}, B {REDACTED}, C"
        assert whole.end["length"] == len(whole.text)
        for position in range(1, len(whole.text) + 2):
            rest = Streamed(b"".join(self.api.get(f"{path}?after={position}").streaming_content))

            assert whole.text[: position - 1] + rest.text == whole.text
        # A client that has seen more than there is now begins again.
        beyond = b"".join(self.api.get(f"{path}?after={len(whole.text) + 2}").streaming_content)
        assert b"event: reset" in beyond
        assert Streamed(beyond).text == whole.text


class CanaryTests(TransactionTestCase):
    """Nothing of a passage is left in any table, any byte of SQLite's file, any key of Redis or any file of the journal."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.valkey = Valkey().start()
        self.addCleanup(self.valkey.close)
        settings = override_settings(
            STREAMING_CHAT_JOURNAL_DIR=folder.name,
            STREAMING_CHAT_NOTIFIER={
                "BACKEND": "streaming_chat.notifiers.redis.RedisNotifier",
                "OPTIONS": {"url": self.valkey.url},
            },
        )
        settings.enable()
        self.addCleanup(settings.disable)
        self.staff = make_staff("staff")

    def plant(self):
        conversation, reply = planted()
        get_notifier().publish(reply.pk, [Event("start", {}), Event("text", CANARY)])
        wait_until(lambda: keys(CANARY, self.valkey))
        get_notifier().stop_publishing(reply.pk)
        Review.objects.update_or_create(conversation=conversation, defaults={"notes": f"About {CANARY}."})
        record("search", self.staff, terms=f"{CANARY} in")
        return conversation, reply

    def redact(self, conversation):
        scope = Scope(conversation.pk, Passages.with_text(CANARY))
        return redact_passages(scope, self.staff, reason=f"Remove {CANARY}", terms=True)

    def test_in_a_whole_conversation(self):
        conversation, reply = self.plant()
        before = places(valkey=self.valkey)
        assert len(before) >= 10

        assert self.redact(conversation) == 2
        assert places(valkey=self.valkey) == []
        reply.refresh_from_db()
        assert reply.text.startswith(f"Yes, {REDACTED}. Yes, {REDACTED}.")

    def test_where_sqlite_was_told_nothing(self):
        conversation, _reply = self.plant()
        leave_what_is_deleted()
        self.redact(conversation)

        assert places() == []

    def test_a_journal_of_another_host_saves_nothing_of_it_later(self):
        conversation, reply = planted()
        self.redact(conversation)
        leave_in_journal(reply)
        journal.replay()

        assert f"{reply.pk}.json" not in [name for name in places() if name.endswith((".json", ".fenced"))]


class AdminTests(TestCase):
    permissions = ("view_conversation", "view_transcript", "redact_transcript")

    def setUp(self):
        self.staff = make_staff("staff", *self.permissions)
        self.client.force_login(self.staff)
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation, "Yes, **Rosebud** is <b>here</b>.")
        self.other = make_reply(self.conversation, "Rosebud again.")
        self.url = reverse("admin:streaming_chat_conversation_redact_passages", args=[self.conversation.pk])
        self.transcript = f"{LIST}{self.conversation.pk}/change/"
        self.form = {"text": "rosebud is", "pattern": "", "scope": "message", "message": str(self.reply.pk)}

    def post(self, **fields):
        return self.client.post(self.url, {**self.form, **fields})

    def text(self):
        return Message.objects.get(pk=self.reply.pk).text

    def test_the_page_of_a_message_offers_what_was_selected(self):
        url = reverse("admin:streaming_chat_conversation_redact", args=[self.conversation.pk, self.reply.pk])
        page = self.client.post(url, {"text": "what I selected"}).content.decode()

        assert "what I selected</textarea>" in page
        assert f'action="{self.url}"' in page
        assert "E-mail addresses" in page

    def test_without_the_permission_to_read_it_offers_only_the_whole_message(self):
        self.client.force_login(make_staff("blind", "view_conversation", "redact_transcript"))
        url = reverse("admin:streaming_chat_conversation_redact", args=[self.conversation.pk, self.reply.pk])

        assert f'action="{self.url}"' not in self.client.post(url).content.decode()
        assert self.post(preview="yes").status_code == 403

    def test_a_preview_shows_the_passage_and_is_recorded_first(self):
        page = self.post(preview="yes").content.decode()

        assert "1 passage will be redacted." in page
        assert "Yes, **<mark>Rosebud** is</mark> &lt;b&gt;here&lt;/b&gt;." in page
        assert self.text() == "Yes, **Rosebud** is <b>here</b>."
        assert AccessRecord.objects.get().kind == "open"

    def test_that_nothing_was_found_is_recorded_as_well(self):
        page = self.post(preview="yes", text="marmalade").content.decode()

        assert "Nothing was found." in page
        assert 'name="confirmed"' not in page
        assert AccessRecord.objects.get().kind == "open"

    def test_it_takes_a_reason(self):
        page = self.post(confirmed="yes", reason=" ").content.decode()

        assert "Enter a reason." in page
        assert self.text() == "Yes, **Rosebud** is <b>here</b>."

    def test_then_it_redacts_and_returns_to_the_message(self):
        response = self.client.post(self.url, {**self.form, "confirmed": "yes", "reason": "GDPR"}, follow=True)
        page = response.content.decode()

        assert response.redirect_chain == [(f"{self.transcript}?message={self.reply.pk}#m-{self.reply.pk}", 302)]
        assert "Redacted in 1 message." in page
        assert "Redacted in part by staff on" in page
        assert self.text() == f"Yes, **{REDACTED} <b>here</b>."
        assert AccessRecord.objects.get(kind="redact_part").reason == "GDPR"
        # More of it can be redacted.
        redact_url = reverse("admin:streaming_chat_conversation_redact", args=[self.conversation.pk, self.reply.pk])
        assert f'action="{redact_url}"' in page

    def test_a_pattern_in_the_whole_conversation(self):
        Message.objects.filter(pk=self.other.pk).update(text="ana@example.com", parts=[])
        form = {"text": "", "pattern": "E-mail addresses", "scope": "conversation", "message": ""}

        assert "<mark>ana@example.com</mark>" in self.post(**form, preview="yes").content.decode()
        self.post(**form, confirmed="yes", reason="r")
        assert Message.objects.get(pk=self.other.pk).text == REDACTED

    def test_what_is_wrong_with_the_form_is_said(self):
        for fields in ({"text": ""}, {"pattern": "Card numbers"}, {"pattern": "x"}, {"scope": "x"}, {"message": "x"}):
            with self.subTest(fields):
                page = self.post(preview="yes", **fields).content.decode()

                assert "errorlist" in page
                assert 'name="confirmed"' not in page
        assert not AccessRecord.objects.exists()

    def test_a_live_reply_is_to_be_stopped_first(self):
        make_live(self.conversation, Event("text", "Rosebud"))
        everywhere = {"scope": "conversation", "text": "Rosebud"}

        assert "Stop it before you redact it" in self.post(**everywhere, preview="yes").content.decode()
        self.post(**everywhere, confirmed="yes", reason="r")
        assert "Rosebud" in self.text()

    def test_the_transcript_has_a_button_for_it(self):
        assert f'action="{self.url}"' in self.client.get(self.transcript).content.decode()

        self.client.force_login(make_staff("reader", "view_conversation", "view_transcript"))
        assert f'action="{self.url}"' not in self.client.get(self.transcript).content.decode()

    def test_the_access_records_show_the_reason(self):
        self.post(confirmed="yes", reason="A good reason")
        self.client.force_login(make_staff("auditor", "view_accessrecord"))

        assert "A good reason" in self.client.get("/admin/streaming_chat/accessrecord/").content.decode()

    def test_messages_of_other_conversations_are_not_found(self):
        other = make_reply(make_conversation())

        assert self.post(preview="yes", message=str(other.pk)).status_code == 404
