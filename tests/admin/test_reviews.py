"""Reviewing in the admin: the bar on a transcript, the queues, and actions on several conversations."""

import html
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from django.db import connection
from django.db.models.functions import Now
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from streaming_chat.admin import review_filters
from streaming_chat.admin.review_actions import MAX_SELECTED
from streaming_chat.db.leases import lease_judge
from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import AccessRecord, Conversation, Review, ReviewState, Verdict
from streaming_chat.review import reviewers, reviews
from streaming_chat.review.reopening import reopen
from streaming_chat.review.verdicts import VerdictChange
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_steady
from tests.hostile import HOSTILE
from tests.review.factories import (
    LABELS,
    LIST,
    NEXT,
    READER,
    REVIEWER,
    expire,
    finish,
    make_reviewer,
    make_waiting,
    snapshot,
    state,
)


class PageTestCase(TestCase):
    def setUp(self):
        self.rita = make_reviewer()
        self.client.force_login(self.rita)

    def page(self, conversation, **query):
        url = reverse("admin:streaming_chat_conversation_change", args=[conversation.pk], query=query)
        response = self.client.get(url)

        assert response.status_code == 200
        return response.content.decode()

    def form(self, conversation, **query):
        """Return what the review form of a transcript sends as it is opened."""
        return form_of(self.page(conversation, **query))

    def say(self, conversation, form=None, **said):
        url = f"{LIST}{conversation.pk}/review/"
        return self.client.post(url, {**(form or self.form(conversation)), **said})


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and all its text."""

    def __init__(self, page):
        super().__init__()
        self.found: list[Any] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _value in attributes]))

    def handle_data(self, data):
        self.text += data


def hidden(page, name):
    """Return the values of the hidden fields of this name."""
    return re.findall(rf'<input type="hidden" name="{name}" value="([^"]*)">', page)


def form_of(page):
    form = {}
    for field in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', field))
        is_sent = attributes["type"] == "hidden" or " checked" in field
        if is_sent and attributes["name"] != "csrfmiddlewaretoken":
            form[attributes["name"]] = html.unescape(attributes.get("value", ""))
    for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="(\w*)" selected', options)
        form[name] = chosen[1] if chosen else ""
    for name, text in re.findall(r'<textarea [^>]*name="([\w-]+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL):
        form[name] = html.unescape(text)
    return form


@LABELS
class TranscriptTests(PageTestCase):
    def test_the_bar_says_how_it_stands(self):
        conversation = make_waiting(needs_attention=True)
        make_waiting(needs_attention=True)
        finish(make_waiting(), self.rita)
        reviews.take(conversation.pk, self.rita)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.page(conversation)).split())

        assert "in review: rita" in page
        assert "1 left · 1 done today" in page

    def test_what_others_did_today_and_we_yesterday_does_not_count(self):
        finish(make_waiting(), make_reviewer("bo"))
        finish(make_waiting(), self.rita)
        Review.objects.filter(done_by=self.rita).update(done_at=Now() - timedelta(days=1, hours=1))

        assert "0 done today" in self.page(make_waiting())

    def test_notes_and_verdicts_are_saved_and_shown_again(self):
        conversation = make_waiting()
        message = reviews.newest_message(conversation.pk)
        said = {"notes": "One\r\ntwo", "verdict": "bad", "labels": ["rude"], f"labels-{message}": ["wrong"]}
        response = self.say(conversation, message=[str(message)], **said)
        form = self.form(conversation)

        assert response.status_code == 302
        assert (form["notes"], form["verdict"], form["labels"]) == ("One\ntwo", "bad", "rude")
        assert form[f"labels-{message}"] == "wrong"
        assert Verdict.objects.count() == 2

    def test_a_verdict_beside_a_message_leads_back_to_it(self):
        conversation = make_waiting()
        message = reviews.newest_message(conversation.pk)
        response = self.say(conversation, mark=f"{message}:bad", notes="Not lost")

        assert response.url.endswith(f"#m-{message}")
        assert Verdict.objects.get().value == "bad"
        assert Review.objects.get().notes == "Not lost"
        assert re.search(rf'value="{message}:" data-verdict="bad" aria-pressed="true"', self.page(conversation))

    def test_done_stays_and_done_and_next_goes_on(self):
        first, second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))
        here = self.say(first, action="done", queue="all")
        next_one = self.say(first, action="done_next", queue="all")

        assert str(first.pk) in here.url
        assert str(second.pk) in next_one.url
        assert "queue=all" in next_one.url
        assert [state(first), state(second)] == ["done", "in_review"]

    def test_next_leaves_it_as_it_is_and_saves_what_was_said(self):
        first, second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))
        response = self.say(first, action="next", queue="all", verdict="good")

        assert str(second.pk) in response.url
        assert state(first) == "unreviewed"
        assert Verdict.objects.get().value == "good"

    def test_next_releases_it_and_saves_notes(self):
        conversation = make_waiting()
        reviews.take(conversation.pk, self.rita)
        self.say(conversation, action="next", queue="all", notes="Not mine to say")

        assert state(conversation) == "unreviewed"
        assert Review.objects.get().notes == "Not mine to say"

    def test_what_was_skipped_is_said_at_the_end_of_a_queue(self):
        conversation = make_waiting()
        self.client.post(NEXT, {"queue": "all"})
        response = self.client.post(f"{LIST}{conversation.pk}/review/", self.next_form(conversation), follow=True)

        assert "Conversations that you skipped come again half an hour later." in response.content.decode()

    def next_form(self, conversation):
        return {**self.form(conversation, queue="all"), "action": "next"}

    def test_it_is_released(self):
        """The button is there for who has it, and only then."""
        conversation = make_waiting()

        assert 'value="release"' not in self.page(conversation)

        reviews.take(conversation.pk, self.rita)
        form = self.form(conversation)

        assert 'value="release"' in self.page(conversation)

        response = self.say(conversation, form, action="release", notes="Typed", verdict="bad")
        page = self.client.get(response.url).content.decode()

        assert "The conversation is released." in page
        assert 'value="release"' not in page
        assert (state(conversation), Review.objects.get().notes) == ("unreviewed", "Typed")
        assert Verdict.objects.get().value == "bad"

    def test_what_another_has_taken_since_is_not_released(self):
        conversation = make_waiting()
        reviews.take(conversation.pk, self.rita)
        form = self.form(conversation)
        expire(conversation)
        reviews.take(conversation.pk, make_reviewer("bo"))
        response = self.say(conversation, form, action="release")

        assert "Nothing was released" in self.client.get(response.url).content.decode()
        assert Review.objects.get().reviewer.username == "bo"

    def test_a_finished_review_is_reopened(self):
        conversation = make_waiting(needs_attention=True)

        assert 'value="reopen"' not in self.page(conversation)

        finish(conversation, make_reviewer("bo"))

        assert 'value="reopen"' in self.page(conversation)

        response = self.say(conversation, action="reopen", notes="Look again")
        page = self.client.get(response.url).content.decode()

        assert "The review is reopened, and the conversation is assigned to you." in page
        assert "in review: rita" in page
        assert "something was added since the review" not in page
        assert (state(conversation), Review.objects.get().notes) == ("in_review", "Look again")
        assert Conversation.objects.get().needs_attention

    def test_what_another_has_reopened_stays_theirs(self):
        conversation = make_waiting()
        finish(conversation, self.rita)
        form = self.form(conversation)
        reopen(conversation.pk, make_reviewer("bo"), takes=True)
        response = self.say(conversation, form, action="reopen")

        assert "Nothing was reopened" in self.client.get(response.url).content.decode()
        assert Review.objects.get().reviewer.username == "bo"

    def done_and_next(self, conversation, **said):
        """Return the page that comes next, and what its Undo sends."""
        response = self.say(conversation, action="done_next", queue="all", **said)
        page = self.client.get(response.url).content.decode()
        form = re.search(r'<form class="review-undo".*?</form>', page, re.DOTALL)[0]
        url = re.search(r'action="([^"]*)"', form)[1]
        version = re.search(r'name="version" value="(\d+)"', form)[1]
        return page, url, {"version": version, **{name: hidden(form, name)[0] for name in ("queue", "opened")}}

    def test_done_and_next_is_undone(self):
        """As it was: needing attention, in review by who undoes it; what came next is free."""
        first, second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))
        Conversation.objects.filter(pk=first.pk).update(needs_attention=True)
        page, url, form = self.done_and_next(first, notes="Done", verdict="bad")

        assert "The conversation is reviewed." in page
        assert [state(first), state(second)] == ["done", "in_review"]

        response = self.client.post(url, form)
        page = self.client.get(response.url).content.decode()

        assert response.url == f"{LIST}{first.pk}/change/?queue=all"
        assert "The review is reopened" in page
        assert [state(first), state(second)] == ["in_review", "unreviewed"]
        assert Conversation.objects.get(pk=first.pk).needs_attention
        assert form_of(page)["notes"] == "Done"
        assert form_of(page)["verdict"] == "bad"
        assert reviews.take_next("all", self.rita) == second.pk

    def test_the_last_of_a_queue_is_undone_on_the_list(self):
        conversation = make_waiting()
        page, url, form = self.done_and_next(conversation)

        assert "This is the end of the queue" in page
        assert "admin/review.js" in page

        self.client.post(url, form)

        assert state(conversation) == "in_review"

    def test_what_another_has_changed_is_not_undone(self):
        conversation, bo = make_waiting(), make_reviewer("bo")
        _page, url, form = self.done_and_next(conversation)
        reopen(conversation.pk, bo)
        finish(conversation, bo)
        response = self.client.post(url, form)

        assert "Nothing was reopened" in self.client.get(response.url).content.decode()
        assert (state(conversation), Review.objects.get().done_by) == ("done", bo)

    def test_forged_undos_are_refused(self):
        conversation = make_waiting()
        _page, url, form = self.done_and_next(conversation)
        for change in ({"version": "x"}, {"version": ""}, {"version": "9" * 5_000}, {"version": "-1"}):
            with self.subTest(change):
                assert self.client.post(url, {**form, **change}).status_code == 400
        unknown = url.replace(str(conversation.pk), "00000000-0000-7000-8000-000000000000")

        assert self.client.post(unknown, form).status_code == 404
        assert state(conversation) == "done"

    def test_the_end_of_a_queue_is_said(self):
        response = self.client.post(NEXT, {"queue": "sample"}, follow=True)

        assert "This is the end of the queue “random sample”." in response.content.decode()

    def test_next_opens_a_transcript(self):
        conversation = make_waiting(needs_attention=True)
        response = self.client.post(NEXT)

        self.assertRedirects(response, f"{LIST}{conversation.pk}/change/?queue=attention")

    def test_what_came_since_is_shown_first(self):
        conversation = make_waiting()
        form = self.form(conversation)
        later = make_message(conversation, "And tomorrow?")
        Conversation.objects.update(last_activity=Now() + timedelta(seconds=1))
        response = self.say(conversation, form, action="done_next", notes="Mine")

        assert response.url.endswith(f"message={later.pk}#m-{later.pk}")
        assert state(conversation) == "in_review"
        assert Review.objects.get().notes == "Mine"

    def test_a_stale_form_shows_both_notes(self):
        conversation = make_waiting()
        form = self.form(conversation)
        reviews.save(conversation.pk, make_reviewer("bo"), snapshot(conversation), "Theirs <b>", {})
        said = {"notes": "Mine <b>", "verdict": "bad", "queue": "all"}
        response = self.say(conversation, form, action="done", **said)
        page = response.content.decode()
        again = form_of(page)

        assert response.status_code == 409
        assert "Theirs &lt;b&gt;" in page
        assert again["notes"] == "Mine <b>"
        assert Review.objects.get().notes == "Theirs <b>"
        assert AccessRecord.objects.filter(kind="open", conversation=conversation.pk, by=self.rita).exists()

        assert self.say(conversation, again, action="done").status_code == 302
        assert Review.objects.get().notes == "Mine <b>"
        assert state(conversation) == "done"
        assert Verdict.objects.get().value == "bad"

    def test_where_it_was_reviewed_to_is_linked(self):
        conversation = make_waiting()
        through = reviews.newest_message(conversation.pk)
        finish(conversation, self.rita)
        Conversation.objects.update(review_state=ReviewState.UNREVIEWED)

        assert f'href="?message={through}#m-{through}"' in self.page(conversation)

    def test_the_branch_that_was_read_is_kept(self):
        conversation = make_waiting()
        reply = conversation.head
        make_reply(conversation, "Another", parent=reply.parent)
        response = self.say(conversation, self.form(conversation, message=reply.pk), action="save")

        assert f"message={reply.pk}" in response.url

    def test_it_costs_no_query(self):
        conversation = make_waiting()
        url = f"{LIST}{conversation.pk}/change/"
        make_steady()
        self.addCleanup(lease_judge.reset)
        counts = []
        for name, permissions in (("text", READER), ("all", REVIEWER)):
            self.client.force_login(make_staff(name, *permissions))
            self.client.get(url)
            counts.append(self.count(url))
        for _ in range(20):
            reply = make_reply(conversation)
            for by in ("bo", "cy"):
                reviews.save_verdicts(conversation.pk, make_reviewer(by), {reply.pk: VerdictChange("bad", ["rude"])})
        counts.append(self.count(url))

        assert len(set(counts)) == 1
        assert counts[0] <= 11

    def count(self, url):
        """Return how many queries a page makes, without the savepoints that a test has in place of transactions."""
        with CaptureQueriesContext(connection) as queries:
            assert self.client.get(url).status_code == 200
        return len([query for query in queries if "SAVEPOINT" not in query["sql"]])

    def test_hostile_texts_are_text(self):
        """A page has the same elements and attributes as one of harmless texts, and shows the text."""
        harmless = self.pages_of("x")
        for name, text in HOSTILE.items():
            with self.subTest(name):
                for page, like in zip(self.pages_of(text), harmless, strict=True):
                    assert Elements(page).found == Elements(like).found

    def pages_of(self, text):
        """Return a transcript with this as notes and label, by another reviewer, and where two of it meet."""
        conversation = make_waiting()
        with override_settings(STREAMING_CHAT_REVIEW_LABELS=[text]):
            verdicts = {
                message: VerdictChange("bad", [text]) for message in (None, reviews.newest_message(conversation.pk))
            }
            reviews.save(conversation.pk, make_reviewer("bo"), snapshot(conversation), text, verdicts)
            page = self.page(conversation)
            form = form_of(page)
            conflict = self.say(conversation, {**form, "version": "0", "notes": f"{text} mine"}, action="done")

        assert form["notes"] == form["base"] == text.strip("\n")
        assert conflict.status_code == 409
        assert f"bo: bad, {text}" in Elements(page).text
        assert f"{text} mine" in Elements(conflict.content.decode()).text

        return page, conflict.content.decode()

    def test_forged_forms_are_refused(self):
        conversation = make_waiting()
        elsewhere = reviews.newest_message(make_waiting().pk)
        form = self.form(conversation)
        for change in (
            {"action": "erase"}, {"version": "x"}, {"version": ""}, {"activity": "now"}, {"activity": "2026-01-01"},
            {"through": "x"}, {"verdict": "awful"}, {"labels": "tall"}, {"mark": f"{elsewhere}:bad"}, {"mark": "x:bad"},
            {"message": "x"}, {"message": str(elsewhere), f"labels-{elsewhere}": "rude"}, {"notes": "x" * 20_001},
        ):  # fmt: skip
            with self.subTest(change):
                assert self.say(conversation, form, **change).status_code == 400
        assert state(conversation) == "unreviewed"
        assert not Review.objects.exists()
        assert not Verdict.objects.exists()

    def test_an_unknown_conversation_is_not_found(self):
        form = self.form(make_waiting())

        assert self.client.post(f"{LIST}00000000-0000-7000-8000-000000000000/review/", form).status_code == 404

    def test_nothing_is_inline(self):
        for page in (self.page(make_waiting()), self.client.get(LIST).content.decode()):
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)


class ListTests(PageTestCase):
    def setUp(self):
        super().setUp()
        # The reviewers of other tests.
        reviewers._read.cache_clear()

    def names(self, **query):
        response = self.client.get(LIST, query)

        assert response.status_code == 200
        return sorted(conversation.title for conversation in response.context["cl"].result_list)

    def act(self, action, *conversations, **form):
        chosen = [str(conversation.pk) for conversation in conversations]
        data = {"action": action, "_selected_action": chosen, "index": "0", **form}
        return " ".join(re.sub(r"<[^>]+>", " ", self.client.post(LIST, data, follow=True).content.decode()).split())

    def test_the_state_is_shown_and_filtered(self):
        bo = make_reviewer("bo")
        make_waiting(title="new", needs_attention=True)
        reviews.take(make_waiting(title="mine").pk, self.rita)
        reviews.take(make_waiting(title="bo's").pk, bo)
        finish(make_waiting(title="done"), bo)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.client.get(LIST).content.decode()).split())

        assert "in review: rita, " in page
        assert "done: bo, " in page
        for value, names in {
            "attention": ["new"], "unreviewed": ["new"], "in_review": ["bo's", "mine"], "mine": ["mine"],
            "done": ["done"], "x": ["bo's", "done", "mine", "new"],
        }.items():  # fmt: skip
            with self.subTest(value):
                assert self.names(review=value) == names

    @LABELS
    def test_verdicts_labels_and_reviewers_are_shown_and_filtered(self):
        bo = make_reviewer("bo")
        for title, by, change in (
            ("one", self.rita, VerdictChange("bad", ["rude"])),
            ("two", bo, VerdictChange("good", ["wrong", "rude"])),
            ("three", bo, VerdictChange("bad")),
        ):
            conversation = make_waiting(title=title)
            finish(conversation, by, verdicts={reviews.newest_message(conversation.pk): change})
        make_waiting(title="four")
        page = " ".join(re.sub(r"<[^>]+>", " ", self.client.get(LIST).content.decode()).split())

        for words in ("rita: bad, rude", "bo: good, wrong, rude", "bo: bad"):
            assert words in page
        everything = ["four", "one", "three", "two"]
        for query, names in (
            ({"verdict": "bad"}, ["one", "three"]),
            ({"verdict": "good"}, ["two"]),
            ({"verdict": "bad", "reviewer": str(bo.pk)}, ["three"]),
            ({"label": "rude"}, ["one", "two"]),
            ({"label": "wrong"}, ["two"]),
            ({"reviewer": str(self.rita.pk)}, ["one"]),
            *(({name: "x"}, everything) for name in ("verdict", "label", "reviewer")),
        ):
            with self.subTest(query):
                assert self.names(**query) == names

    @LABELS
    def test_the_newest_are_those_before_the_end_of_the_range(self):
        self.addCleanup(setattr, review_filters, "NEWEST", review_filters.NEWEST)
        review_filters.NEWEST = 1
        past = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for title, fields in (("old", {"id": first_of(past.timestamp()), "last_activity": past}), ("new", {})):
            finish(make_waiting(title=title, **fields), self.rita, verdicts={None: VerdictChange("bad", ["rude"])})
        Conversation.objects.filter(title="old").update(last_activity=past)
        for query in ({"verdict": "bad"}, {"label": "rude"}, {"reviewer": str(self.rita.pk)}):
            with self.subTest(query):
                assert self.names(**query) == ["new"]
                assert self.names(**query, until="2026-03-01") == ["old"]

    def test_labels_are_found_as_they_are_written(self):
        labels = ["rude", "Rude", "rüde", "100 %", 'a "b"', "<b>"]
        with override_settings(STREAMING_CHAT_REVIEW_LABELS=labels):
            for label in labels:
                conversation = make_waiting(title=label)
                reviews.save_verdicts(conversation.pk, self.rita, {None: VerdictChange("", [label])})
            for label in labels:
                with self.subTest(label):
                    assert self.names(label=label) == [label]

    def test_only_reviewers_see_verdicts_and_filter_by_them(self):
        conversation = make_waiting(title="one")
        finish(conversation, self.rita, verdicts={None: VerdictChange("unsafe")})
        make_waiting(title="two")
        self.client.force_login(make_staff("nina", *READER))

        assert "unsafe" not in self.client.get(LIST).content.decode()
        for query in ({"verdict": "unsafe"}, {"reviewer": str(self.rita.pk)}):
            assert self.names(**query) == ["one", "two"]

    def test_what_was_taken_long_ago_is_not_in_review(self):
        """Next gives it to another: lists, filters and what is left say so before that."""
        conversations = [make_waiting(title=title) for title in ("mine", "bo's", "left")]
        for conversation, by in zip(conversations, (self.rita, make_reviewer("bo"), self.rita), strict=True):
            reviews.take(conversation.pk, by)
        for conversation in conversations[:2]:
            expire(conversation)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.client.get(LIST).content.decode()).split())
        transcript = " ".join(re.sub(r"<[^>]+>", " ", self.page(conversations[0], queue="all")).split())

        assert page.count("in review: rita, ") == 1
        assert "in review: bo, " not in page
        assert "unreviewed 2 left · 0 done today" in transcript
        for value, names in {"unreviewed": ["bo's", "mine"], "in_review": ["left"], "mine": ["left"]}.items():
            with self.subTest(value):
                assert self.names(review=value) == names
        assert {reviews.take_next("all", self.rita) for _ in range(2)} == {row.pk for row in conversations[:2]}

    def test_the_filter_frees_however_many_in_as_many_queries(self):
        """And any filter that has to do with it does so first: each is asked for by itself."""
        counts = []
        for number in (0, 1, 30):
            for value in ("unreviewed", "in_review", "mine"):
                conversations = [make_waiting(title=str(title)) for title in range(number)]
                for conversation in conversations:
                    reviews.take(conversation.pk, self.rita)
                for conversation in conversations:
                    expire(conversation)
                self.client.get(LIST)
                with CaptureQueriesContext(connection) as queries:
                    names = self.names(review=value)
                # Only inside a test's transaction the lock timeout is read before, and put back after. The models and
                # the reviewers are read again each minute.
                others = r'SAVEPOINT|lock_timeout|RECURSIVE used|FROM "auth_user" WHERE "auth_user"."id" IN'
                own = [query for query in queries if not re.search(others, query["sql"])]
                counts.append(len(own))

                assert bool(names) == (value == "unreviewed" and number > 0)
                Conversation.objects.all().delete()

        assert len(set(counts[:3])) == 1
        # The lock and the update, and the record of a list that has rows to show.
        assert max(counts[3:]) <= counts[0] + 3
        assert max(counts) <= 10

    def test_rows_cost_no_queries_and_no_notes_are_loaded(self):
        reviews.take(make_waiting().pk, self.rita)
        self.client.get(LIST)
        with CaptureQueriesContext(connection) as few:
            self.client.get(LIST)
        for number in range(10):
            finish(make_waiting(), make_reviewer(f"user{number}"), notes="x", verdicts={None: VerdictChange("bad")})
        with CaptureQueriesContext(connection) as many:
            self.client.get(LIST)

        assert len(few) == len(many) <= 10
        assert not [query["sql"] for query in many if '"notes"' in query["sql"]]

    def test_verdicts_are_read_for_the_rows_of_the_page_alone(self):
        """Of many rows that a filter finds, a database that sorts them would read the verdicts of all, twice."""
        finish(make_waiting(), self.rita, verdicts={None: VerdictChange("bad")})
        with CaptureQueriesContext(connection) as queries:
            self.client.get(LIST, {"verdict": "bad"})
        filtered = re.compile(r'FROM "streaming_chat_conversation".* LIMIT 2000')
        count, rows = (query["sql"] for query in queries if filtered.search(query["sql"]))
        found = rows[rows.index("IN (SELECT") :]

        assert "labels" not in count
        assert "labels" in rows
        assert "labels" not in found

    def test_several_are_marked_as_done(self):
        bo = make_reviewer("bo")
        free, mine, theirs, done = (make_waiting() for _ in range(4))
        reviews.take(mine.pk, self.rita)
        reviews.take(theirs.pk, bo)
        finish(done, bo)
        page = self.act("mark_done", free, mine, theirs, done)

        assert "2 conversations are done." in page
        assert "2 were skipped" in page
        assert [state(row) for row in (free, mine, theirs, done)] == ["done", "done", "in_review", "done"]
        assert Review.objects.get(pk=done.pk).done_by == bo
        assert Review.objects.get(pk=free.pk).through_id == reviews.newest_message(free.pk)

    def test_several_are_assigned(self):
        free, theirs = make_waiting(), make_waiting()
        reviews.take(theirs.pk, make_reviewer("bo"))
        page = self.act("assign_to_me", free, theirs)

        assert "1 conversation is assigned to you." in page
        assert "1 was skipped" in page
        assert Review.objects.get(pk=free.pk).reviewer == self.rita
        assert Review.objects.get(pk=theirs.pk).reviewer.username == "bo"

    def test_several_reviews_are_reopened(self):
        bo = make_reviewer("bo")
        done, attention, theirs, free = (make_waiting(needs_attention=True) for _ in range(4))
        for conversation in (done, attention):
            finish(conversation, bo)
        reviews.take(theirs.pk, bo)
        page = self.act("reopen_reviews", done, attention, theirs, free)

        assert "2 reviews are reopened." in page
        assert "2 were skipped: their reviews are not finished." in page
        assert [state(row) for row in (done, attention, theirs, free)] == [
            *("unreviewed", "unreviewed", "in_review", "unreviewed")
        ]

    def test_all_pages_are_confirmed_with_their_number(self):
        """Exactly what was counted is done, whatever the list has by then."""
        conversations = [make_conversation(title="x", review_state="unreviewed") for _ in range(60)]
        data = {"action": "mark_done", "_selected_action": str(conversations[0].pk), "index": "0", "select_across": "1"}
        asked = self.client.post(f"{LIST}?review=unreviewed", data)
        page = asked.content.decode()
        later = make_waiting()

        assert asked.status_code == 200
        assert "This applies to 60 conversations on all pages of the list." in page
        assert 'action="/admin/streaming_chat/conversation/?review=unreviewed"' in page
        assert not Conversation.objects.filter(review_state="done").exists()

        form = {"action": "mark_done", "index": "0", "_selected_action": hidden(page, "_selected_action")}
        confirmed = self.client.post(f"{LIST}?review=unreviewed", form)

        self.assertRedirects(confirmed, f"{LIST}?review=unreviewed")
        assert Conversation.objects.filter(review_state="done").count() == 60
        assert state(later) == "unreviewed"

    def test_there_is_a_limit(self):
        for _ in range(MAX_SELECTED + 1):
            chosen = make_conversation()
        page = self.act("assign_to_me", chosen, select_across="1")

        assert f"This applies to {MAX_SELECTED} conversations on all pages of the list." in page
        assert "The list has more, but an action takes no more at once: these are the first." in page

        everything = Conversation.objects.all()
        page = self.act("assign_to_me", *everything)

        assert f"You can select at most {MAX_SELECTED} conversations." in page
        assert Conversation.objects.filter(review_state="in_review").count() == MAX_SELECTED

    def test_nothing_else_can_be_done_to_several(self):
        conversation = make_waiting()
        response = self.client.get(LIST)

        assert [name for name, _words in response.context["action_form"].fields["action"].choices if name] == [
            "mark_done",
            "assign_to_me",
            "reopen_reviews",
        ]
        self.act("delete_selected", conversation, post="yes")

        assert Conversation.objects.count() == 1

    def test_ids_that_are_none_are_not_found(self):
        response = self.client.post(LIST, {"action": "mark_done", "_selected_action": "x", "index": "0"})

        assert response.status_code == 404
