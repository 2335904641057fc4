"""The transcript of a conversation in the admin."""

import re
import uuid
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming_chat.admin.transcripts import PAGE_SIZE
from streaming_chat.chats.branches import PAGE_CHARS
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent
from streaming_chat.protocol.events import Event
from streaming_chat.rendering.markdown_html import PAGE_COST, cost
from tests.admin.base import LIST, READER, AdminTestCase, make_full_conversation, transcript_url
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff, make_steady, make_user


class TranscriptTests(AdminTestCase):
    def test_it_says_who_and_how_it_ended_first(self):
        conversation = make_conversation(make_user("beatriz"))
        make_reply(
            conversation, "It will", status="interrupted", end_reason="provider_stall", error_code="provider_stall"
        )

        page = self.text_of(transcript_url(conversation))

        assert (
            page.index("beatriz")
            < page.index("The reply was interrupted. What had arrived was kept. The model stopped responding.")
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
            cached_input_tokens=100, cache_write_tokens=200, output_tokens=12, tokens_estimated=True,
            first_event_ms=412, reasoning_ms=1250,
            duration_ms=3204, omitted_messages=4, cost="0.00120000",
        )  # fmt: skip

        page = self.text_of(transcript_url(conversation))

        for fact in (
            "Model openai:gpt-5-mini",
            "Tokens 312 in, 100 of them cached, 200 of them written to the cache, 12 out, estimated",
            "Cost $0.0012",
            "Time to first token 412 ms",
            "Reasoning 1250 ms",
            "Total time 3204 ms",
            "Ending interrupted / provider_stall",
            "Error provider_stall: The model stopped responding.",
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
        assert "Seen. The owner saw the reply up to here." in page
        assert "was not shown. Unseen." in page
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

    def test_sources_are_folded_and_linked_if_that_is_safe(self):
        conversation = make_conversation()
        sources = [
            ("https://e.example/a?b=1&c=2", "The <b>web</b>", "provider"),
            ("/shop/7/", "A kettle", "context"),
            ("/admin/logout/", "Of the model", "provider"),
            ("javascript:alert(1)", "A script", "provider"),
        ]
        keys = ("url", "title", "origin")
        parts = [{"kind": "source", **dict(zip(keys, values, strict=True))} for values in sources]
        make_reply(conversation, parts=[*parts, {"kind": "text", "text": "Yes."}])

        page = self.client.get(transcript_url(conversation)).content.decode()
        folded = re.findall(r'<details data-kind="source".*?</details>', page, re.DOTALL)
        links = [re.findall('<a href="(.*?)"', each) for each in folded]

        assert links == [["https://e.example/a?b=1&amp;c=2"], ["/shop/7/"], [], []]
        assert "Source: The &lt;b&gt;web&lt;/b&gt;" in folded[0]
        assert "Document of this site: A kettle" in folded[1]
        assert "javascript:alert(1)" in folded[3]

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

        assert re.findall(r">([^<>,]+), [^<>]+</a>", flags) == ["Rated bad", "Failed"]
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

    def test_for_a_conversation_that_is_gone_the_response_is_djangos(self):
        """Its list of access records, for example, still has the links."""
        for pk in (uuid.uuid4(), "x", "1"):
            for query in ("", f"?message={uuid.uuid4()}"):
                response = self.client.get(f"{LIST}{pk}/change/{query}", follow=True)

                assert response.redirect_chain == [("/admin/", 302)]
                assert f"Conversation with ID “{pk}” doesn’t exist. Perhaps it was deleted?" in response.text

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
        # One of them looks for a reply that has expired.
        assert len([each for each in of_two_messages if "SAVEPOINT" not in each["sql"]]) <= 11
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

    def test_a_page_has_a_maximum_size(self):
        """Beyond it, a message leads to a page that shows it before the others."""
        conversation = make_conversation()
        for number in range(3):
            make_message(conversation, f"Number {number}." + "m" * (PAGE_CHARS // 2))
        last = conversation.head

        page = self.client.get(transcript_url(conversation)).content.decode()
        page_of_last = self.client.get(transcript_url(conversation, message=last.pk)).content.decode()

        assert [f"Number {number}." in page for number in range(3)] == [True, False, False]
        assert page.count("too much text to show this message") == 2
        assert f'href="?message={last.pk}#m-{last.pk}">Show this message' in page
        assert [f"Number {number}." in page_of_last for number in range(3)] == [False, False, True]

    def test_formatting_a_page_is_bounded(self):
        """A page of texts that are slow to format still comes; the rest of it is as it was written."""
        conversation = make_conversation()
        text = "*a* " * 7_500
        count = PAGE_COST // cost(text)
        replies = [make_reply(conversation, text) for _ in range(count + 1)]
        url = transcript_url(conversation)

        page = self.client.get(url).content.decode()

        assert page.count("<em>a</em>") == count * 7_500
        assert page.count('<pre dir="auto">*a* *a*') == 1
        assert f'<a href="?format={replies[-1].pk}#m-{replies[-1].pk}">Format this message</a>' in page

        page = self.client.get(url, {"format": replies[-1].pk}).content.decode()

        assert page.count("<em>a</em>") == count * 7_500
        assert f"?format={replies[-1].pk}#" not in page
        assert f"?format={replies[-2].pk}#" in page

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

        assert "The reply is being written." in page
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

    def test_a_reply_whose_worker_died_is_recovered(self):
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
