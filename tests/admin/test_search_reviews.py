"""What a search shows to reviewers in addition: notes, verdicts and labels. Others find and see none of it."""

import re

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.models import Review
from streaming_chat.review import reviews
from streaming_chat.review.verdicts import VerdictChange
from streaming_chat.search import notes
from tests.admin.searching import kept
from tests.factories import make_staff
from tests.hostile import HOSTILE
from tests.rendering.test_markdown import Elements
from tests.review.factories import LABELS, LIST, READER, finish, make_reviewer, make_waiting, snapshot
from tests.search.factories import SEARCH, add


class SearchTestCase(TestCase):
    def setUp(self):
        self.rita = make_reviewer()
        self.client.force_login(self.rita)

    def page(self, sought, **query):
        response = self.client.get(SEARCH, kept(self.client, {"q": sought, **query}))

        assert response.status_code == 200
        return response.content.decode()

    def titles(self, sought):
        response = self.client.get(LIST, kept(self.client, {"q": sought}))
        return sorted(conversation.title for conversation in response.context["cl"].result_list)

    def noted(self, text, **fields):
        conversation = make_waiting(**fields)
        reviews.save(conversation.pk, self.rita, snapshot(conversation), text, {})
        return conversation


class NotesTests(SearchTestCase):
    def test_notes_are_found_by_their_words(self):
        self.noted("Asked for a REFUND, twice.", title="one")
        self.noted("Nothing to do", title="two")
        page = self.page("refund")

        assert "<mark>REFUND</mark>, twice." in page
        assert "<bdi>rita</bdi>" in page
        assert "Nothing to do" not in page
        for sought in ("refund", '"a refund"', "refu*", "refund twice", "Réfund"):
            with self.subTest(sought):
                assert self.titles(sought) == ["one"]
        for sought in ("fund", "refund thrice", '"refund a"'):
            with self.subTest(sought):
                assert self.titles(sought) == []

    def test_a_result_leads_to_its_conversation(self):
        conversation = self.noted("refund")

        assert f'href="{LIST}{conversation.pk}/change/"' in self.page("refund")

    def test_earlier_versions_are_not_found(self):
        conversation = self.noted("refund", title="one")
        reviews.save(conversation.pk, self.rita, snapshot(conversation), "exchange", {})

        assert "refund</mark>" not in self.page("refund")
        assert self.titles("refund") == []
        assert self.titles("exchange") == ["one"]

    def test_only_the_newest_are_read(self):
        self.addCleanup(setattr, notes, "MAX_READ", notes.MAX_READ)
        notes.MAX_READ = 2
        for title in "abc":
            self.noted("refund", title=title)

        assert self.titles("refund") == ["b", "c"]

    def test_they_are_on_the_first_page_only(self):
        self.noted("refund")

        assert "refund</mark>" in self.page("refund")
        assert "refund</mark>" not in self.page("refund", before="5", page="2")

    def test_others_find_none_and_none_is_loaded(self):
        self.noted("refund")
        Review.objects.update(notes="refund")
        self.client.force_login(make_staff("nina", *READER))
        with CaptureQueriesContext(connection) as queries:
            page, titles = self.page("refund"), self.titles("refund")

        assert "refund</mark>" not in page
        assert titles == []
        tables = ("streaming_chat_reviewnotes", "streaming_chat_verdict")
        assert not [query["sql"] for query in queries if any(table in query["sql"] for table in tables)]

    def test_no_notes_are_markup(self):
        clean = Elements(self.page("Lisbon")).tags
        for text in HOSTILE.values():
            self.noted(f"Lisbon {text}")

        tags = {"ol", "li", "h2", "h3", "time", "bdi", "p", "mark", "a"}
        assert Elements(self.page("Lisbon")).tags <= clean | tags


@LABELS
class VerdictTests(SearchTestCase):
    def test_what_was_found_says_what_was_judged(self):
        conversation = make_waiting()
        reply = reviews.newest_message(conversation.pk)
        verdicts = {None: VerdictChange("unclear"), reply: VerdictChange("bad", ["rude"])}
        finish(conversation, self.rita, verdicts=verdicts)
        add(conversation.messages.get(pk=reply))
        text = " ".join(re.sub(r"<[^>]+>", " ", self.page("today")).split())

        assert "rita: bad, rude · rita: unclear" in text
        self.client.force_login(make_staff("nina", *READER))

        assert "rita" not in self.page("today")

    def test_a_search_goes_together_with_the_filters(self):
        for title, value in (("one", "bad"), ("two", "good")):
            conversation = self.noted("refund", title=title)
            finish(conversation, self.rita, verdicts={None: VerdictChange(value)})
        response = self.client.get(LIST, kept(self.client, {"q": "refund", "verdict": "bad"}))

        assert [conversation.title for conversation in response.context["cl"].result_list] == ["one"]

    def test_it_takes_as_many_queries_for_any_number_of_results(self):
        counts = []
        for _turn in range(2):
            conversation = self.noted("today")
            finish(conversation, self.rita, verdicts={None: VerdictChange("bad", ["rude"])})
            add(conversation.messages.get(role="assistant"))
            self.page("today")
            with CaptureQueriesContext(connection) as queries:
                self.page("today")
            counts.append(len(queries))
            for _number in range(3):
                finish(self.noted("today"), self.rita, verdicts={None: VerdictChange("good")})

        assert counts[0] == counts[1]
