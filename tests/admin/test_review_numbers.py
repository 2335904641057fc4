"""The admin's page of review statistics."""

import re

from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from streaming_chat.review.verdicts import VerdictChange, save_verdicts
from tests.admin.test_dashboard import harm_in
from tests.factories import make_staff
from tests.hostile import HOSTILE
from tests.review.factories import LABELS, LIST, READER, finish, make_reviewer, make_waiting

NUMBERS = f"{LIST}review/numbers/"


@LABELS
class PageTests(TestCase):
    def setUp(self):
        self.rita = make_reviewer()
        self.client.force_login(self.rita)

    def text(self, **query):
        response = self.client.get(NUMBERS, query)

        assert response.status_code == 200
        return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())

    def test_the_list_of_conversations_leads_reviewers_to_it(self):
        assert f'href="{NUMBERS}"' in self.client.get(LIST).content.decode()
        self.client.force_login(make_staff("nina", *READER))

        assert NUMBERS not in self.client.get(LIST).content.decode()
        assert self.client.get(NUMBERS).status_code == 403

    def test_without_reviews(self):
        text = self.text()

        assert "Finished reviews 0 Verdicts 0" in text
        assert "Nothing was reviewed in this period." in text
        assert "No two people judged the same in this period." in text

    def test_reviewers_labels_and_agreement(self):
        conversation = make_waiting()
        save_verdicts(conversation.pk, make_reviewer("bo"), {None: VerdictChange("good")})
        finish(conversation, self.rita, verdicts={None: VerdictChange("bad", ["rude"])})
        text = self.text(days="7")

        assert "Finished reviews 1 Verdicts 2 Good 50.0 % 1 Bad 50.0 % 1" in text
        assert "Agreement 0.0 % 1 comparison" in text
        assert "rita 1 1 0 1 0 0" in text
        assert "bo 0 1 1 0 0 0" in text
        assert "rude 1 100.0 %" in text
        assert "bo rita 1 0.0 %" in text

    def test_no_name_and_no_label_is_markup(self):
        texts = [text[:150] for text in HOSTILE.values()]
        with override_settings(STREAMING_CHAT_REVIEW_LABELS=texts):
            for text in texts:
                finish(make_waiting(), make_reviewer(text), verdicts={None: VerdictChange("bad", [text])})
            page = self.client.get(NUMBERS).content.decode()

        assert harm_in(page) == []

    def test_it_takes_as_many_queries_for_any_number_of_reviews(self):
        self.text()
        counts = []
        for _turn in range(2):
            with CaptureQueriesContext(connection) as queries:
                self.text(days="90")
            counts.append(len(queries))
            for _number in range(5):
                finish(make_waiting(), self.rita, verdicts={None: VerdictChange("bad", ["rude"])})

        assert counts[0] == counts[1] <= 10
