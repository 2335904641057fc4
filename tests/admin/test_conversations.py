"""What staff see of conversations, and what they cannot do."""

import re
import uuid
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test import SimpleTestCase, TestCase
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.admin.pagination import MAX_COUNT
from streaming_chat.admin.transcripts import MAX_MARKDOWN_CHARS, PAGE_SIZE
from streaming_chat.db.hooks import SavedText
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent
from streaming_chat.protocol.events import Event
from streaming_chat.rendering.outcomes import in_words
from streaming_chat.search import entries
from streaming_chat.search.query import MAX_LISTED_HITS
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff, make_steady, make_user

LIST = "/admin/streaming_chat/conversation/"
READER = ("view_conversation", "view_transcript")


def transcript_url(conversation, **query):
    return reverse("admin:streaming_chat_conversation_change", args=[conversation.pk], query=query)


def make_full_conversation():
    """Return a conversation with a text of its own in every place that has one."""
    conversation = make_conversation(
        system_prompt="You are a careful forecaster.", metadata={"page": "/weather"}, input_tokens=312
    )
    parts = [{"kind": "reasoning", "text": "pondering"}, {"kind": "text", "text": "Yes, **today**."}]
    reply = make_reply(conversation, parts=parts, request_id="req_1", ref="8f3ac21b", first_event_ms=412)
    Feedback.objects.create(message=reply, value=1, comment="Exactly right", by=conversation.owner)
    return conversation


class AdminTestCase(TestCase):
    permissions = READER

    def setUp(self):
        self.client.force_login(make_staff("staff", *self.permissions))

    def text_of(self, url):
        """Return what the page says, without its markup and with single spaces."""
        html = self.client.get(url).content.decode()
        return " ".join(re.sub(r"<[^>]+>", " ", html).split())

    def assert_queries(self, count, url):
        with self.assertNumQueries(count):
            assert self.client.get(url).status_code == 200


class ConversationListTests(AdminTestCase):
    def names(self, **query):
        """Return the titles that the list shows for a query."""
        response = self.client.get(LIST, query)

        assert response.status_code == 200
        return [conversation.title for conversation in response.context["cl"].result_list]

    def test_it_says_who_what_when_and_how_much(self):
        conversation = make_full_conversation()
        Conversation.objects.filter(pk=conversation.pk).update(cost="0.00123")

        assert re.search(
            r"Rain in Lisbon .* ana completed unreviewed demo:demo 2 312 / 0 \$0.0012",
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
        assert "erased" in self.text_of(LIST)

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
    def test_filter_by_model(self):
        for model in ("openai:gpt-5-mini", "openai:gpt-5", "demo:a", "demo:b"):
            make_conversation(model=model, title=model)

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

        for term in (conversation.pk, reply.pk, conversation.pk.hex, "req_1", "8f3ac21b", " req_1 "):
            with self.subTest(term):
                assert self.names(q=str(term)) == ["a"]

    def test_search_by_title(self):
        for title in ("Rain in Lisbon", "Snow in Oslo"):
            entries.retitle(make_conversation(title=title).pk, title, connection.alias)

        assert self.names(q="rain IN") == ["Rain in Lisbon"]

    def test_that_more_texts_were_found_than_are_listed_is_said(self):
        conversation = make_conversation(title="Umbrellas")
        made = (Message(conversation=conversation, role="user", text="umbrella") for _ in range(MAX_LISTED_HITS + 1))
        said = [SavedText(conversation.pk, each.pk, False, each.text) for each in Message.objects.bulk_create(made)]
        entries.add(said[:-1], "default")

        assert "More texts than" not in self.text_of(f"{LIST}?q=umbrella")

        entries.add(said[-1:], "default")

        assert "these are the conversations of the newest 300" in self.text_of(f"{LIST}?q=umbrella")
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
        response = self.client.get(LIST, {"q": "8f3ac21b"})
        link = re.search(r'href="([^"]+/change/[^"]*)"', response.content.decode())[1]

        assert "First" in self.text_of(link.replace("&amp;", "&"))


class TranscriptTests(AdminTestCase):
    def test_it_says_who_and_how_it_ended_first(self):
        conversation = make_conversation(make_user("beatriz"))
        make_reply(
            conversation, "It will", status="interrupted", end_reason="provider_stall", error_code="provider_stall"
        )

        page = self.text_of(transcript_url(conversation))

        assert (
            page.index("beatriz")
            < page.index("The reply broke off; what had arrived is kept. The model stopped sending.")
            < page.index("Will it rain?")
            < page.index("It will ")
        )

    def test_replies_are_formatted_and_what_people_typed_is_not(self):
        conversation = make_conversation()
        make_message(conversation, "Is it **bold** <b>?")
        make_reply(conversation, "It is **bold** <b>.")

        page = self.client.get(transcript_url(conversation)).content.decode()

        assert "Is it **bold** &lt;b&gt;?" in page
        assert "It is <strong>bold</strong> &lt;b&gt;." in page

    def test_what_is_known_about_a_reply_is_shown(self):
        conversation = make_conversation()
        make_reply(
            conversation, "It", status="interrupted", end_reason="provider_stall", error_code="provider_stall",
            provider="openai", model="openai:gpt-5-mini", request_id="req_1", ref="8f3ac21b", input_tokens=312,
            cached_input_tokens=100, output_tokens=12, tokens_estimated=True, first_event_ms=412, reasoning_ms=1250,
            duration_ms=3204, omitted_messages=4, cost="0.00120000",
        )  # fmt: skip

        page = self.text_of(transcript_url(conversation))

        for fact in (
            "Model openai:gpt-5-mini",
            "Tokens 312 in, 100 of them cached, 12 out, estimated",
            "Cost $0.0012",
            "To first event 412 ms",
            "Reasoning 1250 ms",
            "In all 3204 ms",
            "Ending interrupted / provider_stall",
            "Error provider_stall: The model stopped sending.",
            "Left out of the prompt 4 messages",
            "Request id req_1",
            "Reference 8f3ac21b",
        ):
            assert fact in page

    def test_what_follows_the_cut_is_shown_and_marked(self):
        conversation = make_conversation()
        make_reply(conversation, "Seen. Unseen.", status="stopped", end_reason="user", cut_position=6)

        page = self.text_of(transcript_url(conversation))

        assert "The owner stopped the reply." in page
        assert "Seen. The owner's reply ends here." in page
        assert "did not see it. Unseen." in page
        assert "Cut at position 6 of 14" in page

    def test_reasoning_and_tool_calls_are_folded(self):
        conversation = make_conversation()
        make_reply(
            conversation,
            parts=[
                {"kind": "reasoning", "text": "Hm <b>"},
                {"kind": "tool_call", "id": "1", "name": "forecast", "arguments": '{"a": 1}', "complete": True},
                {"kind": "tool_call", "id": "2", "name": "radar", "arguments": '{"a"', "complete": False},
                {"kind": "citation", "url": "https://e.example"},
                {"kind": "text", "text": "Yes."},
            ],
        )

        page = self.client.get(transcript_url(conversation)).content.decode()
        folded = " ".join(re.findall(r"<details.*?</details>", page, re.DOTALL))

        for text in ("6 characters", "Hm &lt;b&gt;", "Tool call: forecast", "was cut off: radar", "https://e.example"):
            assert text in folded
        assert "Yes." not in folded

    def test_the_prompt_is_folded_and_so_is_what_is_long_of_the_context(self):
        conversation = make_full_conversation()
        Conversation.objects.update(metadata={"page": "/weather", "version": 1.4, "cart": [{"id": 7}]})
        page = self.client.get(transcript_url(conversation)).content.decode()
        folded = " ".join(re.findall(r"<details.*?</details>", page, re.DOTALL))

        assert "You are a careful forecaster." in folded
        assert "Metadata, as sent by the client" in folded
        assert "&quot;id&quot;: 7" in folded
        assert "/weather" not in folded
        assert "page /weather version 1.4" in self.text_of(transcript_url(conversation))

    def test_a_pause_between_turns_is_said(self):
        conversation = make_conversation()
        now = timezone.now()
        for minutes, text in ((300, "Monday"), (299, "at once"), (150, "after lunch")):
            at = now - timedelta(minutes=minutes)
            make_message(conversation, text, created_at=at, ended_at=at)

        page = self.text_of(transcript_url(conversation))

        assert page.count(" later") == 1
        assert page.index("at once") < page.index("2 hours later") < page.index("after lunch")

    def test_what_somebody_should_look_at_is_in_view(self):
        conversation = make_conversation()
        for number in range(PAGE_SIZE):
            make_message(conversation, f"Before {number}.")
        failed = make_reply(conversation, "", status="failed", error_code="provider_timeout")
        make_message(conversation, "And?")
        bad = make_reply(conversation, "Nonsense")
        Feedback.objects.create(message=bad, value=-1, owner_key=conversation.owner_key)
        make_message(conversation, "Oh")
        make_reply(conversation, "Fine")
        page = self.client.get(transcript_url(conversation)).content.decode()
        flags = re.search(r'<ul class="transcript-flagged".*?</ul>', page, re.DOTALL)[0]

        assert re.findall(r">([^<>]+)</a>", flags) == ["Rated bad", "Failed"]
        assert re.findall(r"\?message=([\w-]+)#", flags) == [str(bad.pk), str(failed.pk)]
        assert re.findall(r'id="m-([\w-]+)" class="transcript-message transcript-focus"', page) == [str(bad.pk)]

    def test_a_conversation_without_trouble_begins_at_its_beginning(self):
        conversation = make_full_conversation()
        page = self.client.get(transcript_url(conversation)).content.decode()

        assert "transcript-flagged" not in page
        assert "transcript-focus" not in page

    def test_each_message_has_an_address(self):
        conversation = make_full_conversation()
        page = self.client.get(transcript_url(conversation)).content.decode()

        for message in conversation.messages.all():
            assert f'href="?message={message.pk}#m-{message.pk}"' in page

    def test_its_speed_is_said_where_it_is_known(self):
        conversation = make_conversation()
        make_reply(conversation, output_tokens=90, first_event_ms=500, duration_ms=2_000)
        make_reply(conversation, output_tokens=90, duration_ms=2_000)

        assert self.text_of(transcript_url(conversation)).count("Speed 60 tokens/s") == 1

    def test_what_a_client_supplied_is_marked(self):
        conversation = make_conversation()
        make_reply(conversation, parts=[], text="Says who?", origin="client")
        Message.objects.filter(pk=conversation.head_id).update(text="Says who?")

        page = self.text_of(transcript_url(conversation))

        assert "supplied by the client" in page
        assert "Says who?" in page

    def test_feedback_is_beside_its_message(self):
        page = self.text_of(transcript_url(make_full_conversation()))

        assert page.index("today") < page.index("Rated good ana") < page.index("Exactly right")

    def test_a_deleted_conversation_says_so(self):
        page = self.text_of(transcript_url(make_conversation(deleted_at=Now())))

        assert "Its owner deleted this conversation on" in page
        assert "There are no messages." in page

    def test_siblings_are_reachable(self):
        conversation = make_conversation()
        replies = [make_reply(conversation, "Reply 1")]
        replies += [make_reply(conversation, f"Reply {n}", parent=replies[0].parent) for n in (2, 3)]

        page = self.text_of(transcript_url(conversation))

        assert "Reply 3" in page
        assert "Reply 2" not in page
        assert "3 of 3" in page

        response = self.client.get(transcript_url(conversation, message=replies[1].pk))

        assert b"2 of 3" in response.content
        for other in (replies[0], replies[2]):
            assert f'href="?message={other.pk}#m-{other.pk}"' in response.content.decode()

    def test_a_branch_is_shown_to_its_newest_leaf(self):
        conversation = make_conversation()
        first = make_reply(conversation, "First")
        make_reply(conversation, "Follows the first", parent=make_message(conversation, "Thanks"))
        make_reply(conversation, "Another", parent=first.parent)

        page = self.text_of(transcript_url(conversation, message=first.pk))

        assert "Follows the first" in page
        assert "Another" not in page

    def test_where_the_branch_in_view_ends_early_the_rest_is_reachable(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        later = make_message(conversation, "Later")
        Conversation.objects.update(head=first)

        response = self.client.get(transcript_url(conversation))

        assert b"Later" not in response.content
        assert f'href="?message={later.pk}#m-{later.pk}"' in response.content.decode()

    def test_a_conversation_without_a_head_shows_its_newest_message(self):
        conversation = make_conversation()
        make_reply(conversation, "Here I am")
        Conversation.objects.update(head=None)

        assert "Here I am" in self.text_of(transcript_url(conversation))

    def test_messages_of_other_conversations_are_not_found(self):
        other = make_reply(make_conversation())
        conversation = make_conversation()

        for message in (other.pk, uuid.uuid4(), "x"):
            assert self.client.get(transcript_url(conversation, message=message)).status_code == 404

    def test_unknown_conversations_are_not_found(self):
        for pk in (uuid.uuid4(), "x", "1"):
            assert self.client.get(f"{LIST}{pk}/change/").status_code == 404

    def test_its_length_costs_no_queries(self):
        short, long = make_conversation(), make_conversation()
        make_reply(short)
        for _ in range(20):
            make_message(long)
            Feedback.objects.create(message=make_reply(long), value=1, by=make_user(), owner_key="u:1")
        self.client.get(transcript_url(short))

        with CaptureQueriesContext(connection) as of_two_messages:
            self.client.get(transcript_url(short))

        # A test's transaction has savepoints where a request would have a transaction.
        assert len([each for each in of_two_messages if "SAVEPOINT" not in each["sql"]]) <= 10
        self.assert_queries(len(of_two_messages), transcript_url(long))

    def test_long_conversations_have_pages(self):
        conversation = make_conversation()
        for index in range(PAGE_SIZE + 1):
            last = make_message(conversation, f"Message number {index}.")
        make_reply(conversation, "", status="failed", error_code="provider_timeout")

        first_page = self.text_of(transcript_url(conversation, page=1))
        second_page = self.text_of(transcript_url(conversation, page=2))

        assert f"Message number {PAGE_SIZE - 1}." in first_page
        assert f"Message number {PAGE_SIZE}." not in first_page
        assert "The reply failed before anything arrived. The model did not answer in time." in first_page
        assert f"Message number {PAGE_SIZE}." in second_page
        assert f"Message number {PAGE_SIZE}." in self.text_of(transcript_url(conversation, message=last.pk))

    def test_formatting_a_page_is_bounded(self):
        """A page of texts that are slow to format still comes; the rest of it is as it was written."""
        conversation = make_conversation()
        for _ in range(MAX_MARKDOWN_CHARS // 30_000 + 1):
            make_reply(conversation, "*a* " * 7_500)

        page = self.client.get(transcript_url(conversation)).content.decode()

        assert page.count("<em>a</em>") == MAX_MARKDOWN_CHARS // 30_000 * 7_500
        assert page.count('<pre dir="auto">*a* *a*') == 1

    def test_nothing_is_inline(self):
        """Everything works under `script-src 'self'; style-src 'self'`."""
        for url in (LIST, transcript_url(make_full_conversation())):
            page = self.client.get(url).content.decode()

            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)


class LiveReplyTests(AdminTestCase):
    """A reply that is still being written, or seems so."""

    def test_what_is_saved_so_far_is_shown(self):
        conversation = make_conversation()
        make_live(conversation, Event("text", "Tomorrow it "), Event("text", "will"))

        page = self.text_of(transcript_url(conversation))

        assert "The reply is being written now." in page
        assert "Tomorrow it will" in page

    def test_it_is_followed_by_who_may_read_and_stopped_by_who_may_stop(self):
        live = make_live(make_conversation(), Event("text", "Tomorrow it "))
        url = transcript_url(live.conversation)
        shown = {}
        for name, permissions in {
            "reads": READER,
            "stops": ("view_conversation", "stop_reply"),
            "both": (*READER, "stop_reply"),
        }.items():
            self.client.force_login(make_staff(name, *permissions))
            page = self.client.get(url).content.decode()
            shown[name] = ("data-follow=" in page, "Stop this reply" in page)

        assert shown == {"reads": (True, False), "stops": (False, True), "both": (True, True)}

    def test_a_reply_whose_worker_died_is_settled(self):
        conversation = make_conversation()
        live = make_live(conversation, Event("text", "Tomorrow it "), expires=-1)
        make_steady()

        page = self.text_of(transcript_url(conversation))

        assert "The server stopped while the reply was being written." in page
        assert "Tomorrow it" in page
        assert Message.objects.get(pk=live.pk).end_reason == "lease_expired"
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()

    def test_a_reply_whose_worker_lives_is_left_alone(self):
        conversation = make_conversation()
        make_live(conversation)
        self.client.get(transcript_url(conversation))

        assert LiveReply.objects.count() == 1


class OutcomeTests(SimpleTestCase):
    def assert_words(self, words, *row):
        message = Message(**dict(zip(("status", "end_reason", "error_code"), row, strict=False)))

        assert in_words(message) == words

    def test_every_ending_has_words(self):
        self.assert_words("The reply is being written now.", "streaming")
        self.assert_words("The model finished the reply.", "completed", "stop")
        self.assert_words("The model reached its limit of tokens; the reply ends there.", "completed", "length")
        self.assert_words("Nobody was following any more, so the reply was stopped.", "stopped", "disconnect")

    def test_what_broke_is_said(self):
        self.assert_words(
            "The reply failed before anything arrived. The model is busy. Try again in a moment.",
            *("failed", "", "provider_rate_limited"),
        )
        self.assert_words(
            "The reply broke off; what had arrived is kept. The model stopped sending.",
            *("interrupted", "provider_stall", "provider_stall"),
        )

    def test_endings_of_newer_versions_are_carried_along(self):
        self.assert_words("The reply is completed.", "completed", "of a newer version")
        self.assert_words("The reply is paused.", "paused")
        self.assert_words("The reply failed before anything arrived.", "failed", "", "of a newer version")


class WithoutTranscriptPermissionTests(AdminTestCase):
    """Numbers, and no text anywhere, titles included."""

    permissions = ("view_conversation", "add_conversation", "change_conversation", "delete_conversation")

    def test_numbers_are_shown(self):
        page = self.text_of(transcript_url(make_full_conversation()))

        assert "not its text" in page
        assert "To first event 412 ms" in page
        assert "Rated good ana" in page

    def test_conversations_are_named_by_id(self):
        conversation = make_full_conversation()

        assert f"Conversation {conversation.pk}" in self.text_of(LIST)
        assert f"Conversation {conversation.pk}" in self.text_of(transcript_url(conversation))

    def test_titles_cannot_be_searched(self):
        conversation = make_full_conversation()
        entries.retitle(conversation.pk, conversation.title, connection.alias)

        assert self.client.get(LIST, {"q": "Lisbon"}).context["cl"].result_count == 0
        assert self.client.get(LIST, {"q": "ana"}).context["cl"].result_count == 1
