"""Staff save while somebody else holds what they would change: a row on PostgreSQL, the whole file on SQLite."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection, connections, transaction
from django.db.models import F
from django.test import RequestFactory, TransactionTestCase
from django.urls import reverse

from streaming_chat.admin.history import log_change
from streaming_chat.admin.pages import retry_on_lock_timeout
from streaming_chat.db.errors import is_busy
from streaming_chat.models import AccessRecord, Conversation, LiveReply, Message, Review, Verdict
from streaming_chat.privacy.redactions import REDACTED
from streaming_chat.protocol.events import Event
from streaming_chat.review import reviews
from tests.admin.test_reviews import Elements, form_of
from tests.factories import make_live, make_staff
from tests.hostile import HOSTILE
from tests.review.factories import LABELS, LIST, NEXT, REVIEWER, expire, make_waiting, snapshot, state

PERMISSIONS = (*REVIEWER, "redact_transcript", "stop_reply")
IS_SQLITE = connection.vendor == "sqlite"


@contextmanager
def held(conversation: Conversation) -> Iterator[None]:
    """Hold a conversation, and its live reply, in a transaction of another connection."""
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Conversation.objects.filter(pk=conversation.pk).update(last_activity=F("last_activity"))
                LiveReply.objects.filter(conversation=conversation).update(worker=F("worker"))
                holding.set()
                release.wait(60)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(20)
        yield
    finally:
        release.set()
        thread.join(20)


@contextmanager
def little_patience() -> Iterator[None]:
    """SQLite waits for its `timeout`: in the tests 20 s."""
    wait(0.1)
    yield
    wait(20)


def wait(seconds: float) -> None:
    if IS_SQLITE:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            cursor.fetchall()


class BusyTestCase(TransactionTestCase):
    def setUp(self) -> None:
        self.rita = make_staff("rita", *PERMISSIONS)
        self.client.force_login(self.rita)
        self.enterContext(little_patience())
        self.conversation = make_waiting()

    def form(self) -> dict[str, Any]:
        """Return what the review form of the transcript sends as it is opened."""
        return form_of(self.client.get(self.url("change")).content.decode())

    def url(self, action: str, *arguments: Any) -> str:
        return reverse(f"admin:streaming_chat_conversation_{action}", args=[self.conversation.pk, *arguments])

    def again(self, response: Any) -> Any:
        """Send the form of a page once more."""
        page = response.content.decode()
        assert response.status_code == 409
        assert "Another session is saving" in page
        action = re.search(r'<form method="post" action="([^"]*)"', page.partition('id="content-main"')[2])
        form = {}
        for name, value in response.context["hidden"]:
            form.setdefault(name, []).append(value)
        if response.context["notes"] is not None:
            form["notes"] = form_of(page)["notes"]
        return self.client.post(action[1].replace("&amp;", "&"), form)


@LABELS
class ReviewTests(BusyTestCase):
    def test_what_was_typed_is_in_the_page_and_saved_when_it_is_sent_again(self):
        message = str(self.conversation.head_id)
        notes = "First <b>line</b>\r\n\r\n  second & “last”"
        said = {
            "notes": notes,
            "verdict": "bad",
            "labels": ["rude", "wrong"],
            "action": "save",
            "mark": f"{message}:bad",
        }
        form = {**self.form(), **said}
        with held(self.conversation):
            response = self.client.post(self.url("review"), form)

        assert (Review.objects.count(), Verdict.objects.count(), state(self.conversation)) == (0, 0, "unreviewed")

        assert self.again(response).status_code == 302
        assert Review.objects.get().notes == notes.replace("\r\n", "\n")
        assert sorted(
            (verdict.message_id is None, verdict.value, verdict.labels) for verdict in Verdict.objects.all()
        ) == [
            (False, "bad", []),
            (True, "bad", ["rude", "wrong"]),
        ]
        assert state(self.conversation) == "in_review"

    def test_done_and_next(self):
        other = make_waiting()
        form = {**self.form(), "notes": "Mine", "action": "done_next", "queue": "all"}
        with held(self.conversation):
            response = self.client.post(self.url("review"), form)
        after = self.again(response)

        assert (state(self.conversation), Review.objects.get(pk=self.conversation.pk).notes) == ("done", "Mine")
        assert str(other.pk) in after.url

    def test_what_another_saved_meanwhile_is_still_not_overwritten(self):
        form = {**self.form(), "notes": "Mine", "action": "save"}
        with held(self.conversation):
            response = self.client.post(self.url("review"), form)
        reviews.save(self.conversation.pk, make_staff("bo", *REVIEWER), snapshot(self.conversation), "Bo's", {})
        after = self.again(response)

        assert after.status_code == 409
        assert form_of(after.content.decode())["notes"] == "Mine"
        assert Review.objects.get().notes == "Bo's"

    def test_it_shows_what_was_typed_and_nothing_that_was_read(self):
        """So it takes no access record, which SQLite could not save just then."""
        form = self.form()
        reviews.save(self.conversation.pk, make_staff("bo", *REVIEWER), snapshot(self.conversation), "Rosebud", {})
        before = AccessRecord.objects.count()
        with held(self.conversation):
            page = self.client.post(self.url("review"), {**form, "notes": "Mine"}).content.decode()

        assert "Mine" in page
        assert "Rosebud" not in page
        assert AccessRecord.objects.count() == before

    def test_hostile_notes_are_text(self):
        form = self.form()
        with held(self.conversation):
            like = Elements(self.client.post(self.url("review"), {**form, "notes": "x"}).content.decode())
            # One that a browser would run, where it is not escaped; each takes PostgreSQL two seconds.
            text = max(HOSTILE.values(), key=lambda text: text.count("<"))
            page = self.client.post(self.url("review"), {**form, "notes": text}).content.decode()

        assert Elements(page).found == like.found
        assert text.strip() in Elements(page).text

    def test_several_at_once(self):
        """On PostgreSQL only the one that is held is left; on SQLite all wait."""
        other = make_waiting()
        chosen = [str(self.conversation.pk), str(other.pk)]
        with held(self.conversation):
            response = self.client.post(LIST, {"action": "mark_done", "_selected_action": chosen, "index": "0"})
        if IS_SQLITE:
            response = self.again(response)

        assert response.status_code == 302
        assert state(other) == "done"

    def test_next(self):
        """On PostgreSQL it takes another, on SQLite there is none to be had."""
        other = make_waiting()
        with held(self.conversation):
            response = self.client.post(NEXT, {"queue": "all"})
        if IS_SQLITE:
            response = self.again(response)

        assert response.status_code == 302
        assert sorted([state(self.conversation), state(other)]) == ["in_review", "unreviewed"]


class ExpiredTests(BusyTestCase):
    def test_a_list_does_without_what_somebody_holds(self):
        """It is freed by whoever looks next; PostgreSQL does not wait for it. Without text the list needs no record."""
        self.client.force_login(make_staff("nina", "view_conversation"))
        other = make_waiting()
        for conversation in (self.conversation, other):
            reviews.take(conversation.pk, self.rita)
        for conversation in (self.conversation, other):
            expire(conversation)
        with held(self.conversation):
            response = self.client.get(LIST, {"review": "in_review"})

        assert response.status_code == 200
        assert [state(self.conversation), state(other)] == ["in_review", "in_review" if IS_SQLITE else "unreviewed"]
        assert "in review: rita" not in response.content.decode()

        self.client.get(LIST, {"review": "in_review"})

        assert [state(self.conversation), state(other)] == ["unreviewed", "unreviewed"]


class NextAfterSavingTests(BusyTestCase):
    def test_what_is_saved_is_not_saved_twice(self):
        """The second save would be of an older version, and be refused."""
        if not IS_SQLITE:
            self.skipTest("PostgreSQL passes over what is held.")
        other = make_waiting()
        form = {**self.form(), "notes": "Mine", "action": "done_next", "queue": "all"}
        holder = held(self.conversation)
        before = reviews.finish

        def finish_and_lose(*arguments: Any) -> bool:
            done = before(*arguments)
            holder.__enter__()
            return done

        reviews.finish = finish_and_lose
        try:
            response = self.client.post(self.url("review"), form)
        finally:
            reviews.finish = before
            holder.__exit__(None, None, None)
        after = self.again(response)

        assert state(self.conversation) == "done"
        assert str(other.pk) in after.url


class RedactionTests(BusyTestCase):
    def test_it_is_done_when_it_is_asked_again(self):
        reply = self.conversation.head
        with held(self.conversation):
            response = self.client.post(self.url("redact", reply.pk), {"confirmed": "yes", "terms": "on"})

        assert Message.objects.get(pk=reply.pk).text == reply.text
        assert not AccessRecord.objects.filter(kind="redact").exists()

        assert self.again(response).status_code == 302
        assert Message.objects.get(pk=reply.pk).text == REDACTED

    def test_passages_are_redacted_when_it_is_asked_again(self):
        reply = self.conversation.head
        word = reply.text.split()[0]
        form = {"confirmed": "yes", "reason": "r", "text": word, "scope": "message", "message": str(reply.pk)}
        with held(self.conversation):
            response = self.client.post(self.url("redact_passages"), form)

        assert Message.objects.get(pk=reply.pk).text == reply.text
        assert not AccessRecord.objects.filter(kind="redact_part").exists()

        assert self.again(response).status_code == 302
        assert REDACTED in Message.objects.get(pk=reply.pk).text


class StopTests(BusyTestCase):
    def test_it_is_asked_again(self):
        live = make_live(self.conversation, Event("text", "Hel"))
        with held(self.conversation):
            response = self.client.post(self.url("stop", live.pk))

        assert LiveReply.objects.get().stop is None
        assert self.again(response).status_code == 302
        assert LiveReply.objects.get().stop == "staff"


class ReadingTests(BusyTestCase):
    def test_what_cannot_be_noted_is_not_shown(self):
        """Only SQLite's lock is in the way of a record."""
        with held(self.conversation):
            response = self.client.get(self.url("change"), {"queue": "all"})
        if not IS_SQLITE:
            assert response.status_code == 200
            return
        page = response.content.decode()

        assert (response.status_code, response["Retry-After"]) == (503, "2")
        assert self.conversation.head.text not in page
        assert self.conversation.title not in page
        assert f'href="{self.url("change")}?queue=all"' in page

    def test_neither_is_a_list_nor_an_export(self):
        self.rita.user_permissions.add(
            *Permission.objects.filter(codename__in=["export_transcript", "view_accessrecord"])
        )
        AccessRecord.objects.create(kind="search", by_name="rita", terms="umbrella")
        accesses = reverse("admin:streaming_chat_accessrecord_changelist")
        with held(self.conversation):
            answers = [
                self.client.get(LIST),
                self.client.get(accesses),
                self.client.post(f"{LIST}export/jsonl/"),
                self.client.post(self.url("export", "markdown")),
            ]
            pages = [answer.getvalue().decode() for answer in answers]

        assert [answer.status_code for answer in answers] == ([503, 503, 409, 409] if IS_SQLITE else [200] * 4)
        if IS_SQLITE:
            assert [page for page in pages if "umbrella" in page or self.conversation.title in page] == []

    def test_the_first_transcript_of_a_connection_may_be_opened_meanwhile(self):
        """Django asks SQLite in a transaction whether it knows JSON, and kept "locked" as "no"."""
        connection.close()
        connection.features.__dict__.pop("supports_json_field", None)
        wait(0.1)
        with held(self.conversation):
            self.client.get(self.url("change"))

        assert self.client.get(self.url("change")).status_code == 200


class HistoryTests(BusyTestCase):
    def test_a_change_that_is_saved_does_not_fail_for_its_entry(self):
        request = RequestFactory().post("/")
        request.user = self.rita
        with self.assertLogs("streaming_chat", "WARNING") if IS_SQLITE else nullcontext(), held(self.conversation):
            log_change(request, [self.conversation.pk], "Finished the review.")

        assert LogEntry.objects.count() == (0 if IS_SQLITE else 1)


class ErrorTests(TransactionTestCase):
    def test_only_who_is_in_the_way_is_waited_for(self):
        """A column that is missing would be missing the next time, too."""
        with self.assertRaises(Exception) as raised, connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

        assert not is_busy(raised.exception)
        assert not is_busy(OperationalError("database is locked"))

    def test_other_failures_go_on(self):
        @retry_on_lock_timeout
        def view(model_admin: Any, request: Any) -> None:
            raise OperationalError("the disk is full")

        with self.assertRaisesMessage(OperationalError, "the disk is full"):
            view(None, None)
