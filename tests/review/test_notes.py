"""The notes of a review keep a history, which reviewers can read, and which a redaction and an erasure remove."""

from django.test import TestCase

from streaming_chat.accounts.owners import Owner
from streaming_chat.models import AccessRecord, Conversation, Review, ReviewNotes
from streaming_chat.privacy.erasures import erase
from streaming_chat.privacy.redactions import redact
from streaming_chat.review import reviews
from streaming_chat.review.reopening import reopen
from streaming_chat.review.reviews import StaleReviewError
from tests.factories import make_staff
from tests.hostile import HOSTILE
from tests.rendering.test_markdown import Elements
from tests.review.factories import LIST, READER, finish, make_reviewer, make_waiting, snapshot


class HistoryTestCase(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()

    def save(self, notes, by=None):
        reviews.save(self.conversation.pk, by or self.rita, snapshot(self.conversation), notes, {})

    def history(self):
        found = ReviewNotes.objects.filter(conversation=self.conversation).order_by("pk")
        return list(found.values_list("by__username", "text"))


class VersionTests(HistoryTestCase):
    def test_each_change_is_a_version_with_its_author(self):
        self.save("One")
        self.save("Two", self.bo)
        finish(self.conversation, self.rita, notes="Three")

        assert self.history() == [("rita", "One"), ("bo", "Two"), ("rita", "Three")]
        assert Review.objects.get().notes == "Three"

    def test_notes_that_stay_the_same_are_no_version(self):
        self.save("One")
        self.save("One")
        self.save(None)
        finish(self.conversation, self.rita, notes="One")

        assert self.history() == [("rita", "One")]

    def test_emptied_notes_are_a_version(self):
        self.save("One")
        self.save("")

        assert self.history() == [("rita", "One"), ("rita", "")]

    def test_a_reopened_review_keeps_it(self):
        finish(self.conversation, self.rita, notes="One")
        reopen(self.conversation.pk, self.bo, takes=True)

        assert self.history() == [("rita", "One")]

    def test_what_was_refused_is_no_version(self):
        before = snapshot(self.conversation)
        self.save("One", self.bo)
        with self.assertRaises(StaleReviewError):
            reviews.save(self.conversation.pk, self.rita, before, "Two", {})

        assert self.history() == [("bo", "One")]


class RemovalTests(HistoryTestCase):
    def test_a_redaction_removes_all_versions(self):
        self.save("They said: rosebud")
        self.save("They said nothing")
        redact(reviews.newest_message(self.conversation.pk), self.rita)

        assert self.history() == []
        assert Review.objects.get().notes == ""

    def test_a_reviewer_who_still_has_them_on_the_screen_does_not_bring_them_back(self):
        self.save("They said: rosebud")
        before = snapshot(self.conversation)
        redact(reviews.newest_message(self.conversation.pk), self.bo)
        with self.assertRaises(StaleReviewError):
            reviews.save(self.conversation.pk, self.rita, before, "They said: rosebud, again", {})

        assert self.history() == []

    def test_an_erasure_removes_all_versions(self):
        self.save("One")
        other = make_waiting(owner=make_staff("other"))
        reviews.save(other.pk, self.rita, snapshot(other), "Stays", {})
        list(erase(Owner(self.conversation.owner, self.conversation.owner_key)))

        assert self.history() == []
        assert [notes.text for notes in ReviewNotes.objects.all()] == ["Stays"]
        assert Review.objects.get(pk=other.pk).notes == "Stays"

    def test_after_an_erasure_there_can_be_none(self):
        """They would never be removed, since the conversation has no owner any more."""
        before = snapshot(self.conversation)
        list(erase(Owner(self.conversation.owner, self.conversation.owner_key)))
        for save in (reviews.save, reviews.leave, reviews.finish):
            with self.subTest(save.__name__), self.assertRaises(Conversation.DoesNotExist):
                save(self.conversation.pk, self.rita, before, "They said: rosebud", {})

        assert self.history() == []

    def test_they_go_with_their_conversation(self):
        self.save("One")
        Conversation.objects.all().delete()

        assert not ReviewNotes.objects.exists()


class PageTests(HistoryTestCase):
    def setUp(self):
        super().setUp()
        self.client.force_login(self.rita)
        self.url = f"{LIST}{self.conversation.pk}/review/notes/"

    def test_the_transcript_leads_to_it(self):
        transcript = f"{LIST}{self.conversation.pk}/change/"
        assert self.url not in self.client.get(transcript).content.decode()
        self.save("One")

        assert self.url in self.client.get(transcript).content.decode()

    def test_the_newest_version_is_first(self):
        self.save("One")
        self.save("Two", self.bo)
        self.save("")
        page = self.client.get(self.url).content.decode()

        assert page.index("The notes were emptied.") < page.index("Two") < page.index("One")
        assert page.index("bo</bdi>") < page.index("Two")

    def test_opening_it_is_recorded(self):
        self.save("One")
        self.client.get(self.url)
        found = AccessRecord.objects.get()

        assert (found.kind, found.by, found.conversation) == ("open", self.rita, self.conversation.pk)

    def test_other_staff_do_not_see_it(self):
        self.save("One")
        self.client.force_login(make_staff("nina", *READER))

        assert self.client.get(self.url).status_code == 403
        assert not AccessRecord.objects.exists()

    def test_an_unknown_conversation_is_not_found(self):
        assert self.client.get(f"{LIST}00000000-0000-7000-8000-000000000000/review/notes/").status_code == 404

    def test_no_version_is_markup(self):
        self.client.get(self.url)
        clean = Elements(self.client.get(self.url).content.decode()).tags
        for text in HOSTILE.values():
            self.save(text)

        assert Elements(self.client.get(self.url).content.decode()).tags <= clean | {
            "section",
            "h2",
            "time",
            "pre",
            "bdi",
        }
