"""What staff did to a conversation, in the admin's own log: its History page."""

from django.contrib.admin.models import LogEntry
from django.utils import translation

from streaming_chat.chats import sharing
from streaming_chat.models import Review
from streaming_chat.protocol.events import Event
from streaming_chat.review import reviews
from tests.admin.base import LIST, READER, AdminTestCase, transcript_url
from tests.factories import make_conversation, make_live, make_reply
from tests.review.factories import finish, make_reviewer, make_waiting


def entries():
    """Return the sentences of the log, oldest first."""
    return list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))


class HistoryTests(AdminTestCase):
    permissions = (*READER, "review_conversation", "stop_reply", "redact_transcript", "revoke_link")

    def act(self, action, *conversations):
        ids = [str(conversation.pk) for conversation in conversations]
        return self.client.post(LIST, {"action": action, "_selected_action": ids, "index": "0"})

    def say(self, conversation, **form):
        conversation.refresh_from_db()
        review = Review.objects.filter(pk=conversation.pk).first()
        seen = {
            "version": review.version if review else 0,
            "activity": conversation.last_activity.isoformat(),
            "through": reviews.newest_message(conversation.pk),
        }
        return self.client.post(f"{LIST}{conversation.pk}/review/", {**seen, **form})

    def test_the_transcript_links_to_it(self):
        conversation = make_waiting(title="Rain in Lisbon")
        self.act("mark_done", conversation)
        page = self.client.get(transcript_url(conversation)).text
        history = self.text_of(f"{LIST}{conversation.pk}/history/")

        assert f'href="{LIST}{conversation.pk}/history/"' in page
        assert "staff Finished the review." in history
        assert "Rain in Lisbon" not in history

    def test_a_stop(self):
        live = make_live(make_conversation(), Event("text", "Hel"))
        self.client.post(f"{LIST}{live.conversation_id}/messages/{live.pk}/stop/")

        assert entries() == [f"Stopped the reply {live.pk}."]

    def test_a_stop_that_came_too_late_is_none(self):
        reply = make_reply(make_conversation())
        self.client.post(f"{LIST}{reply.conversation_id}/messages/{reply.pk}/stop/")

        assert entries() == []

    def test_a_redaction(self):
        reply = make_reply(make_conversation())
        url = f"{LIST}{reply.conversation_id}/messages/{reply.pk}/redact/"
        self.client.post(url)

        assert entries() == []

        self.client.post(url, {"confirmed": "yes"})

        assert entries() == [f"Redacted the message {reply.pk}."]

    def test_redacted_passages(self):
        conversation = make_reply(make_conversation(), "Rosebud").conversation
        form = {"text": "Rosebud", "pattern": "", "scope": "conversation", "message": "", "reason": "GDPR"}
        url = f"{LIST}{conversation.pk}/redact/"
        self.client.post(url, {**form, "preview": "yes"})

        assert entries() == []

        self.client.post(url, {**form, "confirmed": "yes"})

        assert entries() == ["Redacted passages."]

    def test_a_revoked_link(self):
        conversation = make_reply(make_conversation()).conversation
        sharing.share(conversation)
        url = f"/admin/streaming_chat/sharelink/{conversation.pk}/revoke/"
        for _time in range(2):
            self.client.post(url)

        assert entries() == ["Revoked the link to the conversation."]
        assert LogEntry.objects.get().object_id == str(conversation.pk)

    def test_a_review_that_is_finished_reopened_and_undone(self):
        conversation = make_waiting()
        self.say(conversation, action="save", notes="Good")
        self.say(conversation, action="done")
        self.say(conversation, action="reopen")
        self.say(conversation, action="done_next")
        version = Review.objects.get(pk=conversation.pk).version
        for _time in range(2):
            self.client.post(f"{LIST}{conversation.pk}/review/undo/", {"version": version, "queue": "attention"})

        assert entries() == ["Finished the review.", "Reopened the review."] * 2

    def test_actions_of_the_list_on_what_they_changed(self):
        free, done = make_waiting(), make_waiting()
        finish(done, make_reviewer("bo"))
        for action, changed, said in (
            ("assign_to_me", free, "Took the conversation for review."),
            ("mark_done", free, "Finished the review."),
        ):
            with self.subTest(action):
                LogEntry.objects.all().delete()
                self.act(action, free, done)

                assert list(LogEntry.objects.values_list("object_id", "change_message")) == [(str(changed.pk), said)]

        self.act("reopen_reviews", free, done)

        assert LogEntry.objects.filter(change_message="Reopened the review.").count() == 2

    def test_conversations_are_named_in_the_language_of_the_reader(self):
        conversation = make_conversation()
        with translation.override("de"):
            assert str(conversation) == f"Unterhaltung {conversation.pk}"
            assert str(make_reply(conversation)).startswith("Nachricht ")
