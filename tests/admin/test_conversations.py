"""The list of conversations in the admin."""

import re
import uuid
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.admin.lists import MAX_COUNT
from streaming_chat.db.hooks import SavedText
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.search import entries
from streaming_chat.search.query import MAX_LISTED_HITS
from tests.admin.base import LIST, AdminTestCase, make_full_conversation, transcript_url
from tests.admin.searching import keep, kept
from tests.factories import make_conversation, make_live, make_reply, make_user


class ConversationListTests(AdminTestCase):
    def names(self, **query):
        """Return the titles that the list shows for a query."""
        response = self.client.get(LIST, kept(self.client, query))

        assert response.status_code == 200
        return [conversation.title for conversation in response.context["cl"].result_list]

    def test_it_says_who_what_when_and_how_much(self):
        conversation = make_full_conversation()
        Conversation.objects.filter(pk=conversation.pk).update(cost="0.00123")

        assert re.search(
            r"Rain in Lisbon completed unreviewed .* ana demo:demo 2 312 / 0 \$0.0012",
            self.text_of(LIST).split("tokens in / out cost")[-1],
        )

    def test_the_live_ones_are_marked(self):
        make_live(make_conversation(title="a"))
        make_reply(make_conversation(title="b"))

        self.assertContains(
            self.client.get(LIST), '<strong class="list-live">being written</strong>', count=1, html=True
        )

    def test_the_newest_activity_is_first(self):
        for days in (2, 1, 3):
            make_conversation(title=str(days), last_activity=Now() - timedelta(days=days))

        assert self.names() == ["1", "2", "3"]

    def test_deleted_conversations_are_marked(self):
        make_conversation(deleted_at=Now())

        assert "Rain in Lisbon (deleted)" in self.text_of(LIST).replace("Lisbon  (", "Lisbon (")

    def test_owners_without_an_account_are_said_to_be_so(self):
        Conversation.objects.create(owner_key="v:1", title="a")
        Conversation.objects.create(owner_key="", erased_at=Now(), title="b")

        assert "visitor" in self.text_of(LIST)
        assert "[erased]" in self.text_of(LIST)

    def test_they_are_found_by_the_kind_of_their_owner(self):
        make_conversation(title="a")
        Conversation.objects.create(owner_key="v:1", title="b")
        Conversation.objects.create(owner_key="v:2", title="c")
        Conversation.objects.create(owner_key="", erased_at=Now(), title="d")
        for query, titles in (
            ({"owned_by": "user"}, ["a"]),
            ({"owned_by": "visitor"}, ["b", "c"]),
            ({"owned_by": "erased"}, ["d"]),
            ({"owned_by": "x"}, ["a", "b", "c", "d"]),
            ({"owner_key": "v:1"}, ["b"]),
            ({"q": "v:2"}, ["c"]),
        ):
            with self.subTest(query):
                assert sorted(self.names(**query)) == titles

    def test_a_visitors_transcript_says_so_and_leads_to_their_others(self):
        conversation = Conversation.objects.create(owner_key="v:1", title="Rain in Lisbon")
        reply = make_reply(conversation)
        Feedback.objects.create(message=reply, value=1, comment="Thanks", owner_key="v:1")
        page = f"{LIST}{conversation.pk}/change/"

        assert "visitor" in self.text_of(page)
        assert "Thanks" in self.text_of(page)
        assert f"{LIST}?owner_key=v%3A1".encode() in self.client.get(page).content

    def test_titles_are_escaped(self):
        make_conversation(title="<script>alert(1)</script>")

        assert b"<script>alert" not in self.client.get(LIST).content

    def test_rows_cost_no_queries(self):
        make_reply(make_conversation())
        self.client.get(LIST)
        with CaptureQueriesContext(
            connection,
        ) as few:
            self.client.get(LIST)
        for index in range(30):
            make_reply(make_conversation(make_user(f"user{index}")))

        self.assert_queries(len(few), LIST)

    def test_rows_are_counted_to_a_limit_only(self):
        """Counting a million rows on each page would take longer than showing it."""
        owner = make_user()
        Conversation.objects.bulk_create(
            Conversation(owner=owner, owner_key=user_key(owner)) for _ in range(MAX_COUNT + 1)
        )
        with CaptureQueriesContext(connection) as queries:
            page = self.text_of(LIST)

        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]

        assert "1k+ conversations" in page
        assert len(counts) == 1
        assert f"LIMIT {MAX_COUNT}" in counts[0]

    def test_choices_of_filters_are_not_read_from_rows(self):
        make_conversation()
        with CaptureQueriesContext(connection) as queries:
            self.client.get(LIST)

        assert not [query["sql"] for query in queries if "DISTINCT" in query["sql"]]

    @override_settings(STREAMING_CHAT_MODELS=["openai:gpt-5-mini", "demo:*"])
    def test_all_models_of_a_provider_can_be_chosen(self):
        for model in ("openai:gpt-5-mini", "openai:gpt-5", "demo:a", "demo:b"):
            make_reply(make_conversation(model=model, title=model), model=model)

        assert self.names(model="openai:gpt-5-mini") == ["openai:gpt-5-mini"]
        assert self.names(model="demo:*") == ["demo:b", "demo:a"]

    def test_filter_by_status(self):
        make_conversation(last_status="failed", title="a")
        make_conversation(last_status="completed", title="b")

        assert self.names(last_status__exact="failed") == ["a"]

    def test_filter_by_date(self):
        make_conversation(last_activity=Now() - timedelta(days=30), title="old")
        make_conversation(title="new")
        today = timezone.now() - timedelta(days=1)

        assert self.names(last_activity__gte=today.isoformat()) == ["new"]

    def test_search_by_owner(self):
        make_conversation(make_user("beatriz"), title="a")
        make_conversation(make_user("carl"), title="b")

        assert self.names(q="BEATRIZ") == ["a"]
        assert self.names(q="carl@example") == ["b"]
        assert self.names(q=str(make_user("carl").pk)) == ["b"]

    def test_search_by_ids(self):
        conversation = make_conversation(title="a")
        reply = make_reply(conversation, request_id="req_1", ref="8f3ac21b")
        make_reply(make_conversation(title="req_1 8f3ac21b"), request_id="req_2")

        for term in (conversation.pk, reply.pk, conversation.pk.hex, "req_1", "8f3ac21b", "8F3AC21B", " req_1 "):
            with self.subTest(term):
                assert self.names(q=str(term)) == ["a"]

    def test_search_by_owner_key(self):
        user = make_user("ana")
        make_conversation(user, title="a")
        make_conversation(make_user("bo"), title="b")
        Conversation.objects.create(owner_key="v:0af", title="c")
        for term, titles in (
            (f"u:{user.pk}", ["a"]),
            (f"U:{user.pk}", ["a"]),
            ("v:0af", ["c"]),
            ("V:0AF", ["c"]),
            ("u:0", []),
            ("u:", []),
        ):
            with self.subTest(term):
                assert self.names(q=term) == titles

    def test_a_username_may_look_like_an_owner_key(self):
        make_conversation(make_user("u:ana"), title="a")

        assert self.names(q="u:ana") == ["a"]

    def test_search_by_title(self):
        for title in ("Rain in Lisbon", "Snow in Oslo"):
            entries.replace_title(make_conversation(title=title).pk, title, connection.alias)

        assert self.names(q="rain IN") == ["Rain in Lisbon"]

    def test_that_more_texts_were_found_than_are_listed_is_said(self):
        conversation = make_conversation(title="Umbrellas")
        made = (Message(conversation=conversation, role="user", text="umbrella") for _ in range(MAX_LISTED_HITS + 1))
        said = [SavedText(conversation.pk, each.pk, False, each.text) for each in Message.objects.bulk_create(made)]
        entries.add(said[:-1], "default")

        assert "texts match" not in self.text_of(f"{LIST}?q={keep(self.client, 'umbrella')}")

        entries.add(said[-1:], "default")

        assert "More than 300 texts match." in self.text_of(f"{LIST}?q={keep(self.client, 'umbrella')}")
        assert self.names(q="umbrella") == ["Umbrellas"]

    def test_search_for_nothing_that_exists(self):
        make_conversation()

        assert self.names(q=str(uuid.uuid4())) == []
        assert self.names(q="nobody") == []
        assert self.names(q="\0") == ["Rain in Lisbon"]

    def test_a_search_for_a_message_leads_to_it(self):
        conversation = make_conversation()
        first = make_reply(conversation, "First", ref="8f3ac21b")
        make_reply(conversation, "Second", parent=first.parent)
        response = self.client.get(LIST, kept(self.client, {"q": "8f3ac21b"}))
        link = re.search(r'href="([^"]+/change/[^"]*)"', response.content.decode())[1]

        assert "First" in self.text_of(link.replace("&amp;", "&"))


class WithoutTranscriptPermissionTests(AdminTestCase):
    """Numbers, and no text anywhere, titles included."""

    permissions = ("view_conversation", "delete_conversation", "delete_message")

    def test_numbers_are_shown(self):
        page = self.text_of(transcript_url(make_full_conversation()))

        assert "but not its text" in page
        assert "Time to first token 412 ms" in page
        assert "Rated good ana" in page

    def test_conversations_are_named_by_id(self):
        conversation = make_full_conversation()

        assert f"Conversation {conversation.pk}" in self.text_of(LIST)
        assert f"Conversation {conversation.pk}" in self.text_of(transcript_url(conversation))

    def test_titles_cannot_be_searched(self):
        conversation = make_full_conversation()
        entries.replace_title(conversation.pk, conversation.title, connection.alias)

        assert self.client.get(LIST, kept(self.client, {"q": "Lisbon"})).context["cl"].result_count == 0
        assert self.client.get(LIST, kept(self.client, {"q": "ana"})).context["cl"].result_count == 1
