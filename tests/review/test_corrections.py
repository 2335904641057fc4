"""Corrected answers: each reviewer has one for each reply, and a redaction and an erasure remove them."""

import re

from django.test import TestCase

from streaming_chat.accounts.owners import Owner
from streaming_chat.models import Conversation, Verdict
from streaming_chat.privacy.erasures import erase
from streaming_chat.privacy.redactions import redact
from streaming_chat.review import reviews
from streaming_chat.review.verdicts import MAX_CORRECTION_CHARS, VerdictChange, save_verdicts
from tests.admin.test_reviews import form_of
from tests.factories import make_message, make_reply, make_staff
from tests.hostile import HOSTILE
from tests.rendering.test_markdown import Elements
from tests.review.factories import LABELS, LIST, READER, make_reviewer, make_waiting, snapshot


class CorrectionTestCase(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.reply = reviews.newest_message(self.conversation.pk)

    def correct(self, text, by=None, message=None, **more):
        change = VerdictChange(correction=text, **more)
        save_verdicts(self.conversation.pk, by or self.rita, {message or self.reply: change})

    def saved(self):
        rows = Verdict.objects.order_by("pk").values_list("by__username", "value", "labels", "correction")
        return [tuple(row) for row in rows]


@LABELS
class SaveTests(CorrectionTestCase):
    def test_each_reviewer_has_their_own(self):
        self.correct("Yes.")
        self.correct("No.", self.bo, value="bad")

        assert self.saved() == [("rita", "", [], "Yes."), ("bo", "bad", [], "No.")]

    def test_what_is_not_named_stays(self):
        self.correct("Yes.", value="bad", labels=["rude"])
        self.correct("Maybe.")
        save_verdicts(self.conversation.pk, self.rita, {self.reply: VerdictChange("unclear")})

        assert self.saved() == [("rita", "unclear", ["rude"], "Maybe.")]

    def test_an_empty_one_is_none(self):
        self.correct("")
        self.correct("Yes.", self.bo)
        self.correct("", self.bo)

        assert self.saved() == []

    def test_only_replies_have_one(self):
        asked = make_message(self.conversation)
        elsewhere = make_reply(make_waiting())
        for message in (asked.pk, elsewhere.pk):
            with self.subTest(message), self.assertRaises(ValueError):
                self.correct("Yes.", message=message)
        with self.assertRaises(ValueError):
            save_verdicts(self.conversation.pk, self.rita, {None: VerdictChange(correction="Yes.")})

        assert self.saved() == []

    def test_it_has_a_limit(self):
        self.correct("x" * MAX_CORRECTION_CHARS)
        with self.assertRaises(ValueError):
            VerdictChange(correction="x" * (MAX_CORRECTION_CHARS + 1))

        assert len(Verdict.objects.get().correction) == MAX_CORRECTION_CHARS


@LABELS
class RemovalTests(CorrectionTestCase):
    def test_a_redaction_removes_all_of_its_message_and_no_verdict(self):
        self.correct("Secret")
        self.correct("Secret, too", self.bo, value="bad", labels=["rude"])
        other = make_reply(self.conversation)
        self.correct("Stays", message=other.pk)
        redact(self.reply, self.rita)

        assert self.saved() == [("bo", "bad", ["rude"], ""), ("rita", "", [], "Stays")]

    def test_an_erasure_removes_all_of_the_owner(self):
        self.correct("Secret", value="bad")
        other = make_waiting(owner=make_staff("other"))
        change = VerdictChange(correction="Stays")
        save_verdicts(other.pk, self.rita, {reviews.newest_message(other.pk): change})
        list(erase(Owner(self.conversation.owner, self.conversation.owner_key)))

        assert self.saved() == [("rita", "bad", [], ""), ("rita", "", [], "Stays")]

    def test_after_an_erasure_there_can_be_none(self):
        """It would never be removed, since the conversation has no owner any more."""
        list(erase(Owner(self.conversation.owner, self.conversation.owner_key)))
        with self.assertRaises(Conversation.DoesNotExist):
            self.correct("Secret")

        assert self.saved() == []


class PageTests(CorrectionTestCase):
    def setUp(self):
        super().setUp()
        self.client.force_login(self.rita)
        self.url = f"{LIST}{self.conversation.pk}/change/"

    def page(self):
        return self.client.get(self.url).content.decode()

    def send(self, **form):
        seen = snapshot(self.conversation)
        data = {
            "version": seen.version,
            "activity": seen.last_activity.isoformat(),
            "through": str(seen.through),
            **form,
        }
        return self.client.post(f"{LIST}{self.conversation.pk}/review/", data)

    def test_one_is_saved_and_shown_again(self):
        response = self.send(
            **{f"correction-{self.reply}": "Yes,\r\nbut <b>late</b>.\r\n", "mark": f"{self.reply}:bad"}
        )

        assert response.status_code == 302
        assert self.saved() == [("rita", "bad", [], "Yes,\nbut <b>late</b>.")]
        assert f'name="correction-{self.reply}"' in self.page()
        assert "Yes,\nbut &lt;b&gt;late&lt;/b&gt;.</textarea>" in self.page()

    def test_those_of_others_are_shown_and_stay(self):
        self.correct("Theirs", self.bo)
        self.send(**{f"correction-{self.reply}": "Mine"})

        assert self.saved() == [("bo", "", [], "Theirs"), ("rita", "", [], "Mine")]
        assert "Corrected answer by <bdi>bo</bdi>" in self.page()
        assert re.search(r"<pre[^>]*>Theirs</pre>", self.page())

    def test_a_form_that_was_opened_before_a_redaction_does_not_bring_one_back(self):
        self.correct("Secret")
        opened = form_of(self.page())
        redact(self.reply, self.bo)
        self.send(**{**opened, "mark": f"{self.reply}:bad"})

        assert self.saved() == [("rita", "bad", [], "")]

    def test_one_is_removed_by_emptying_its_field(self):
        self.correct("Yes.", value="bad")
        self.send(**{**form_of(self.page()), f"correction-{self.reply}": ""})

        assert self.saved() == [("rita", "bad", [], "")]

    def test_only_replies_have_a_field(self):
        assert self.page().count('name="correction-') == 1

    def test_the_list_says_that_there_is_one_and_does_not_load_it(self):
        self.correct("Secret")
        page = self.client.get(LIST).content.decode()

        assert "rita: corrected" in page
        assert "Secret" not in page

    def test_forged_fields_are_refused(self):
        asked = make_message(self.conversation)
        for name, text in (
            ("correction-x", "a"), (f"correction-{asked.pk}", "a"),
            (f"correction-{self.reply}", "x" * (MAX_CORRECTION_CHARS + 1)),
        ):  # fmt: skip
            with self.subTest(name):
                assert self.send(**{name: text}).status_code == 400
        assert self.saved() == []

    def test_other_staff_see_none(self):
        self.correct("Secret")
        self.client.force_login(make_staff("nina", *READER))

        assert "Secret" not in self.page()

    def test_none_is_markup(self):
        self.correct("a", self.bo)
        self.correct("b")
        clean = Elements(self.page()).tags
        for text in HOSTILE.values():
            self.correct(text, self.bo)
            self.correct(text)

            assert Elements(self.page()).tags <= clean
