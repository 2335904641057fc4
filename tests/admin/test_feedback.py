"""The feedback inbox: ratings with their comments, found by filters and words, each leading to its message."""

import io
import re
from datetime import UTC, datetime, timedelta

from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming_chat.models import AccessRecord, Conversation, Feedback
from tests.admin.base import READER, AdminTestCase, transcript_url
from tests.admin.searching import keep
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_user
from tests.hostile import HOSTILE

FEEDBACK = "/admin/streaming_chat/feedback/"


def rate(value=-1, comment="", *, owner="ana", reply=None, **fields):
    """Return a rating of a reply by its owner."""
    reply = reply or make_reply(make_conversation(make_user(owner)))
    conversation = reply.conversation
    rated = {"owner_key": conversation.owner_key, "by": conversation.owner, **fields}
    return Feedback.objects.create(message=reply, value=value, comment=comment, **rated)


def rate_as_visitor(comment=""):
    conversation = Conversation.objects.create(owner_key="v:1", title="A visitor's")
    return rate(comment=comment, reply=make_reply(conversation))


class FeedbackTestCase(AdminTestCase):
    def shown(self, **query):
        """Return the ratings that the list shows. q: the words of a search."""
        if "q" in query:
            query["q"] = keep(self.client, query["q"], FEEDBACK)
        response = self.client.get(FEEDBACK, query)

        assert response.status_code == 200
        return list(response.context["cl"].result_list)


class ListTests(FeedbackTestCase):
    def test_it_says_what_who_and_of_which_model(self):
        rate(comment="It <b>rained</b>.", reply=make_reply(make_conversation(), model="openai:gpt"))
        rate(1, owner="bo")
        page = self.client.get(FEEDBACK).content.decode()
        table = re.search(r'<table id="result_list".*?</table>', page, re.DOTALL)[0]

        for text in ("It &lt;b&gt;rained&lt;/b&gt;.", "ana", "bo", "openai:gpt", ">bad<", ">good<"):
            assert text in table

    def test_each_leads_to_its_message_on_any_branch(self):
        conversation = make_conversation()
        asked = make_message(conversation)
        bad = make_reply(conversation, "First", parent=asked)
        make_reply(conversation, "Second", parent=asked)
        rate(reply=bad)
        page = self.client.get(FEEDBACK).content.decode()
        address = f"{transcript_url(conversation, message=bad.pk)}#m-{bad.pk}"

        assert f'href="{address}"' in page

        transcript = self.client.get(transcript_url(conversation, message=bad.pk))
        assert transcript.context["transcript"].focus == bad.pk
        assert "First" in transcript.content.decode()

    def test_those_that_changed_last_come_first(self):
        now = timezone.now()
        first = rate(updated_at=now - timedelta(hours=2))
        second = rate(updated_at=now - timedelta(hours=1))

        assert self.shown() == [second, first]

        Feedback.objects.filter(pk=first.pk).update(updated_at=now)
        assert self.shown() == [first, second]

    def test_a_rating_that_the_api_has_changed(self):
        """Its owner says more some days later."""
        rating = rate(updated_at=timezone.now() - timedelta(days=3))
        rate()
        self.client.force_login(make_user("ana"))
        address = f"/chat/api/messages/{rating.message_id}/feedback"
        body = {"value": -1, "comment": "Still wrong"}
        assert self.client.put(address, body, content_type="application/json").status_code == 200
        self.client.force_login(make_staff("staff", *READER))

        assert self.shown()[0].comment == "Still wrong"

    def test_the_beginning_of_a_long_comment(self):
        rate(comment="word " * 800)
        page = self.client.get(FEEDBACK).content.decode()

        assert 80 < page.count("word ") < 120

    def test_an_erased_owner_has_no_comment(self):
        rating = rate(comment="Secret")
        call_command("eraseowner", "ana", stdout=io.StringIO())
        page = self.client.get(FEEDBACK).content.decode()

        assert self.shown() == [rating]
        assert "Secret" not in page
        assert "erased" in page

    def test_hostile_comments_are_escaped(self):
        for text in HOSTILE.values():
            rate(comment=text.replace("\0", ""))
        page = self.client.get(FEEDBACK).content.decode()

        assert "<script>alert" not in page
        assert "<img src=x" not in page

    def test_rows_cost_no_queries(self):
        rate(comment="One")
        with CaptureQueriesContext(connection) as few:
            self.shown()
        for number in range(30):
            rate(comment="More", owner=f"user{number}")
        with CaptureQueriesContext(connection) as many:
            self.shown()

        assert len(few) == len(many) <= 10

    def test_no_text_of_a_message_is_loaded(self):
        rate(comment="It rained")
        with CaptureQueriesContext(connection) as queries:
            self.shown()
        for column in ("text", "parts", "title", "system_prompt", "metadata", "body_digest"):
            assert not [query["sql"] for query in queries if f'"{column}"' in query["sql"]]


class FilterTests(FeedbackTestCase):
    def test_each_finds_its_own(self):
        good = rate(1, reply=make_reply(make_conversation(), model="openai:gpt"))
        bad = rate(-1, "It rained", owner="bo")
        visitors = rate_as_visitor()
        erased = rate(owner="cleo")
        call_command("eraseowner", "cleo", stdout=io.StringIO())
        expected = {
            ("feedback", "good"): {good},
            ("feedback", "bad"): {bad, visitors, erased},
            ("commented", "1"): {bad},
            ("commented", "0"): {good, visitors, erased},
            ("model", "openai:gpt"): {good},
            ("model", "demo:*"): {bad, visitors, erased},
            ("model", "nobody"): set(),
            ("owned_by", "user"): {good, bad},
            ("owned_by", "visitor"): {visitors},
            ("owned_by", "erased"): {erased},
        }
        for (name, value), ratings in expected.items():
            with self.subTest(name=name, value=value):
                assert set(self.shown(**{name: value})) == ratings
        assert self.shown(feedback="bad", owned_by="user", commented="1", model="demo:demo") == [bad]

    @override_settings(TIME_ZONE="Asia/Tokyo")
    def test_a_range_of_days_in_the_users_time_zone(self):
        timezone.deactivate()
        # In Tokyo, the first and the last second of 2 March.
        first = rate(updated_at=datetime(2026, 3, 1, 15, tzinfo=UTC))
        last = rate(updated_at=datetime(2026, 3, 2, 14, 59, 59, tzinfo=UTC))
        rate(updated_at=datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC))
        rate(updated_at=datetime(2026, 3, 2, 15, tzinfo=UTC))

        assert self.shown(**{"from": "2026-03-02", "until": "2026-03-02"}) == [last, first]
        assert self.shown(**{"from": "x"}) == []

    def test_preset_dates(self):
        rate(updated_at=timezone.now() - timedelta(days=30))
        new = rate()
        page = self.client.get(FEEDBACK).content.decode().replace("&amp;", "&")
        week = re.search(r'href="(\?updated_at__gte=[^"]*)">Past 7 days', page)[1]

        assert list(self.client.get(f"{FEEDBACK}{week}").context["cl"].result_list) == [new]

    def test_other_values_find_all_or_none(self):
        rate()
        for name in ("feedback", "commented", "model", "owned_by", "from", "until"):
            for value in ("'; --", "\0", "x" * 5_000):
                assert self.client.get(FEEDBACK, {name: value}).status_code == 200

    def test_columns_are_not_asked_for(self):
        for query in ("comment=R", "comment__startswith=R", "message__text__startswith=R", "by__password=x"):
            assert self.client.get(f"{FEEDBACK}?{query}").status_code == 400

    def test_each_has_an_index(self):
        if connection.vendor != "sqlite":
            return
        rated = Feedback.objects.order_by("-updated_at", "-id")
        for rows, index in (
            (rated, "streaming_chat_feedback_recent"),
            (rated.filter(value=-1), "streaming_chat_feedback_values"),
            (rated.exclude(comment=""), "streaming_chat_feedback_texts"),
            (rated.filter(owner_key="u:1"), "streaming_chat_feedback_owner"),
        ):
            plan = rows[:50].explain()

            assert index in plan
            assert "TEMP B-TREE" not in plan

    def test_a_model_is_looked_up_in_its_index(self):
        """A row of a message has its text before its model."""
        if connection.vendor != "sqlite":
            return
        self.shown(model="demo:demo")
        changelist = self.client.get(FEEDBACK, {"model": "demo:demo"}).context["cl"]
        plan = changelist.queryset.values("pk")[:50].explain()

        assert "COVERING INDEX streaming_chat_message_model (model=? AND id>? AND id<?)" in plan


class SearchTests(FeedbackTestCase):
    def test_by_ids_and_owners(self):
        rating, other = rate(), rate(owner="bo")
        for words in (str(rating.message_id), str(rating.message.conversation_id), rating.owner_key, "ana", "ANA@exa"):
            with self.subTest(words):
                assert self.shown(q=words) == [rating]
        assert self.shown(q=other.owner_key.upper()) == [other]
        assert self.shown(q="nobody") == []

    def test_all_words_of_a_comment_in_any_case(self):
        rating = rate(comment="Es hat über Nacht GEREGNET.")
        rate(comment="Es hat geschneit.")
        for words in ("geregnet", "hat geregnet", "ÜBER nacht", "Über", "regn"):
            with self.subTest(words):
                assert self.shown(q=words) == [rating]
        assert self.shown(q="geregnet geschneit") == []
        assert self.shown(q="%") == []

    def test_many_words(self):
        rating = rate(comment="word")

        assert self.shown(q="word " * 90) == [rating]

    def test_words_are_recorded_once_and_with_whose_comments_they_found(self):
        rating = rate(comment="It rained")
        rate(comment="It snowed", owner="bo")
        self.shown(q="rained")
        (search,) = AccessRecord.objects.all()

        assert (search.kind, search.by_name, search.terms) == ("search", "staff", "rained")
        assert list(search.owners.values_list("owner_key", flat=True)) == [rating.owner_key]

    def test_it_takes_few_queries(self):
        rate(comment="It rained")
        query = {"q": keep(self.client, "rained", FEEDBACK), "feedback": "bad", "model": "demo:demo", "commented": "1"}
        with CaptureQueriesContext(connection) as queries:
            self.client.get(FEEDBACK, query)

        assert len(queries) <= 10


class RecordTests(FeedbackTestCase):
    def test_a_page_has_a_record_that_names_the_owners(self):
        keys = {rate(comment="A").owner_key, rate(comment="B", owner="bo").owner_key}
        self.shown(feedback="bad")
        (listed,) = AccessRecord.objects.all()

        assert (listed.kind, listed.count, listed.terms) == ("list", 2, f"{FEEDBACK}?feedback=bad")
        assert set(listed.owners.values_list("owner_key", flat=True)) == keys

    def test_without_rows_nothing_was_read(self):
        self.shown()

        assert not AccessRecord.objects.exists()


class NoTextTests(FeedbackTestCase):
    """Staff who may not read texts."""

    permissions = ("view_conversation",)

    def test_comments_are_neither_shown_nor_searched_nor_filtered_by_nor_loaded(self):
        ratings = [rate(comment="It rained"), rate()]
        with CaptureQueriesContext(connection) as queries:
            page = self.client.get(FEEDBACK).content.decode()
            listed = self.shown(commented="1")
            found = self.shown(q="rained")

        assert "It rained" not in page
        assert "with a comment" not in page
        assert set(listed) == set(ratings)
        assert found == []
        assert not [query["sql"] for query in queries if '"comment"' in query["sql"]]
        assert not AccessRecord.objects.exists()

    def test_ids_and_owners_are(self):
        rating = rate(comment="It rained")

        assert self.shown(q="ana") == self.shown(q=str(rating.message_id)) == [rating]


class DeletionTests(FeedbackTestCase):
    def test_nobody_adds_changes_or_deletes_here(self):
        rating = rate()
        self.client.force_login(make_user("root", is_staff=True, is_superuser=True))
        for action in ("add/", f"{rating.pk}/change/", f"{rating.pk}/delete/"):
            assert self.client.post(f"{FEEDBACK}{action}").status_code == 404
        assert self.client.post(FEEDBACK, {"action": "delete_selected"}).status_code == 405
