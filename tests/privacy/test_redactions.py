"""Taking one message's text away: from everywhere, and from nothing else."""

import tempfile
import time
import uuid
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase
from django.test.utils import override_settings
from django.urls import reverse

from streaming_chat.chats.branches import branch
from streaming_chat.engine.ending_journal import journal
from streaming_chat.models import AccessRecord, Conversation, Feedback, LiveReply, Message, ReplyEvent, ToolCall
from streaming_chat.notifiers import get_notifier
from streaming_chat.notifiers.base import Notifier
from streaming_chat.privacy import copies
from streaming_chat.privacy.audit import record
from streaming_chat.privacy.redactions import REDACTED, StillLiveError, redact
from streaming_chat.protocol.events import Event
from tests.copies import CANARY, keys, leave_in_journal, leave_what_is_deleted, places, planted
from tests.factories import make_call, make_conversation, make_live, make_message, make_reply, make_staff
from tests.servers import wait_until
from tests.valkey import Valkey

LIST = "/admin/streaming_chat/conversation/"


class RedactTests(TestCase):
    def setUp(self):
        self.staff = make_staff("staff")

    def test_it_stays_in_its_place_with_who_and_when(self):
        conversation = make_conversation()
        make_reply(conversation, "Secret", input_tokens=312, request_id="req_1")
        reply = Message.objects.get(role="assistant")
        make_message(conversation, "Thanks")
        redact(reply.pk, self.staff)
        reply.refresh_from_db()

        assert (reply.text, reply.parts) == (REDACTED, [{"kind": "text", "text": REDACTED}])
        assert (reply.position, reply.end_position) == (1 + len(REDACTED), 1 + len(REDACTED))
        assert (reply.input_tokens, reply.request_id, reply.status) == (312, "req_1", "completed")
        assert (reply.redacted_by, reply.redacted_at is not None) == ("staff", True)
        assert [message.text for message in branch(conversation, conversation.head_id)] == [
            "Will it rain?",
            REDACTED,
            "Thanks",
        ]
        found = AccessRecord.objects.get()
        assert (found.kind, found.by, found.message, found.conversation) == (
            "redact",
            self.staff,
            reply.pk,
            conversation.pk,
        )

    def test_a_reply_and_its_continuations_share_their_text(self):
        """Whichever of them is redacted."""
        for number in range(3):
            with self.subTest(number):
                conversation = make_conversation()
                replies = [make_reply(conversation, "Secret", end_reason="length")]
                question = replies[0].parent
                for _more in range(2):
                    more = {"continues": replies[-1], "continued_at": 7, "parent": question}
                    replies.append(make_reply(conversation, "Secret, and more", **more))
                other = make_reply(conversation, "Another", parent=question)
                redact(replies[number].pk, self.staff)

                rows = Message.objects.filter(conversation=conversation, role="assistant").order_by("pk")
                assert [row.text for row in rows] == [REDACTED] * 3 + ["Another"]
                assert not any(row.can_continue for row in rows)
                records = AccessRecord.objects.filter(conversation=conversation.pk)
                assert {found.message for found in records} == {reply.pk for reply in replies}
                assert other.pk not in {found.message for found in records}

    def test_a_continuation_that_is_being_written_would_bring_it_back(self):
        conversation = make_conversation()
        reply = make_reply(conversation, "Secret", end_reason="length")
        live = make_live(conversation, Event("text", "Secret"))
        Message.objects.filter(pk=live.pk).update(continues=reply, continued_at=7)

        with self.assertRaises(StillLiveError):
            redact(reply.pk, self.staff)

    def test_tool_calls_lose_their_texts_and_say_which_tools_ran(self):
        reply = make_reply(make_conversation())
        answered = {
            "answer": {"approved": False, "reason": "Secret"},
            "by": self.staff,
            "answered_at": reply.created_at,
        }
        make_call(reply, **answered)
        make_call(reply, "secret", digest="")
        redact(reply.pk, self.staff)
        call, invented = ToolCall.objects.order_by("pk")

        assert (call.arguments, call.output, call.answer) == ("", "", None)
        assert (call.name, call.status, call.ms, call.by) == ("refund", "ok", 120, self.staff)
        assert call.answered_at == reply.created_at
        assert invented.name == ""

    def test_searches_that_quote_what_a_tool_returned(self):
        parts = [{"kind": "tool_result", "id": "1", "status": "ok", "output": '{"number": "4111 1111"}', "ms": 5}]
        reply = make_reply(make_conversation(), parts=parts)
        search = record("search", self.staff, terms="4111 1111")
        redact(reply.pk, self.staff, terms=True)

        assert AccessRecord.objects.get(pk=search.pk).terms == REDACTED

    def test_what_was_beyond_the_cut_goes_too(self):
        reply = make_reply(make_conversation(), "Seen. Unseen.", status="stopped", end_reason="user", cut_position=6)
        redact(reply.pk, self.staff)
        reply.refresh_from_db()

        assert (reply.cut_position, [event.payload for event in reply.events()]) == (None, [REDACTED])

    def test_a_message_of_a_user_has_no_parts(self):
        asked = make_message(make_conversation(), "Secret", send_key="k", body_digest="d")
        redact(asked.pk, self.staff)
        asked.refresh_from_db()

        assert (asked.text, asked.parts, asked.send_key, asked.body_digest) == (REDACTED, [], None, "")

    def test_a_reply_without_text_stays_without(self):
        """Prompts leave out such a reply: a mark would be words in its place."""
        reply = make_reply(make_conversation(), "", status="failed", error_code="provider_timeout")
        redact(reply.pk, self.staff)
        reply.refresh_from_db()

        assert (reply.text, reply.parts) == ("", [])

    def test_comments_go_and_their_values_stay(self):
        reply, other = make_reply(make_conversation()), make_reply(make_conversation())
        for message in (reply, other):
            Feedback.objects.create(message=message, value=-1, comment="Secret", owner_key="u:1")
        redact(reply.pk, self.staff)

        assert list(Feedback.objects.order_by("pk").values_list("value", "comment")) == [(-1, ""), (-1, "Secret")]

    def test_a_title_that_is_its_beginning_goes(self):
        long = "Will   it rain\nin Lisbon on the day after the day after tomorrow, or not?"
        for text, title, expected in (
            ("Will it rain?", "Will it rain?", ""),
            (long, "Will it rain in Lisbon on the day after the day after tomor…", ""),
            ("Will it rain?", "Rain", "Rain"),
            ("Will it rain?", "", ""),
            ("Rain", "Rainy days", "Rainy days"),
        ):
            with self.subTest(title):
                conversation = make_conversation(title=title)
                redact(make_message(conversation, text).pk, self.staff)
                conversation.refresh_from_db()

                assert conversation.title == expected

    def test_other_messages_are_as_they_were(self):
        conversation = make_conversation()
        first, second = make_reply(conversation, "First"), make_reply(conversation, "Second")
        redact(first.pk, self.staff)
        second.refresh_from_db()

        assert (second.text, second.redacted_at) == ("Second", None)

    def test_a_live_reply_is_refused(self):
        live = make_live(make_conversation(), Event("text", "Tomorrow"))
        with self.assertRaises(StillLiveError):
            redact(live.pk, self.staff)

        assert ReplyEvent.objects.count() == LiveReply.objects.count() == 1
        assert not AccessRecord.objects.exists()

    def test_again(self):
        reply = make_reply(make_conversation())
        redact(reply.pk, self.staff)
        redact(reply.pk, "root")
        reply.refresh_from_db()

        assert (reply.text, reply.redacted_by) == (REDACTED, "root")

    def test_what_is_not_there(self):
        with self.assertRaises(Message.DoesNotExist):
            redact(uuid.uuid4(), self.staff)

    def test_searches_that_quote_it_are_cleared_where_that_is_wanted(self):
        def search(terms, **fields):
            made = record("search", self.staff, terms=terms)
            AccessRecord.objects.filter(pk=made.pk).update(**fields)
            return made.pk

        before = Now() - timedelta(hours=1)
        reply = make_reply(make_conversation(), "My number is 4111 1111", created_at=before)
        quoting = [search("4111 1111"), search('"MY number"'), search("number")]
        others = [
            search("is"),
            search("4222"),
            search("a%"),
            search("number", at=Now() - timedelta(days=1)),
            search(""),
        ]
        redact(reply.pk, self.staff)

        assert AccessRecord.objects.filter(terms=REDACTED).count() == 0

        Message.objects.filter(pk=reply.pk).update(text="My number is 4111 1111")
        redact(reply.pk, self.staff, terms=True)

        assert set(AccessRecord.objects.filter(terms=REDACTED).values_list("pk", flat=True)) == set(quoting)
        assert not AccessRecord.objects.filter(pk__in=others, terms=REDACTED).exists()


class CanaryTests(TransactionTestCase):
    """Nothing of it is left: in no table, in no byte of SQLite's file, in no key of Redis, in no file of the journal."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.valkey = Valkey().start()
        self.addCleanup(self.valkey.close)
        settings = override_settings(
            STREAMING_CHAT_JOURNAL_DIR=folder.name,
            STREAMING_CHAT_NOTIFIER={
                "BACKEND": "streaming_chat.notifiers.redis.RedisNotifier",
                "OPTIONS": {"url": self.valkey.url},
            },
        )
        settings.enable()
        self.addCleanup(settings.disable)

    def carry(self, reply):
        """Let the notifier carry the canary, as it does while another process follows the reply."""
        get_notifier().publish(reply.pk, [Event("start", {}), Event("text", CANARY)])
        wait_until(lambda: keys(CANARY, self.valkey))
        get_notifier().stop_publishing(reply.pk)

    def test_redaction(self):
        conversation, reply = planted(system_prompt="", metadata={})
        asked = reply.parent
        self.carry(reply)
        record("search", make_staff("staff"), terms=f"{CANARY} in")
        before = places(valkey=self.valkey)
        redact(reply.pk, make_staff("staff"), terms=True)
        redact(asked.pk, make_staff("staff"), terms=True)

        assert len(before) >= 10
        assert places(valkey=self.valkey) == []
        assert Conversation.objects.get().pk == conversation.pk

    def test_redaction_where_sqlite_was_told_nothing(self):
        """It zeroes what it frees from then on, and the search index is purged with each."""
        _conversation, reply = planted(system_prompt="", metadata={})
        record("search", make_staff("staff"), terms=f"{CANARY} in")
        leave_what_is_deleted()
        redact(reply.pk, make_staff("staff"), terms=True)
        redact(reply.parent_id, make_staff("staff"), terms=True)

        assert places() == []

    def test_what_waits_of_others_stays(self):
        _conversation, reply = planted(system_prompt="", metadata={})
        other = make_reply(make_conversation())
        leave_in_journal(other)
        self.carry(other)
        redact(reply.pk, make_staff("staff"))
        left = {name.partition(".")[0] for name in places() if name.startswith(str(other.pk))}

        assert left == {str(other.pk)}
        assert [key for key in keys(CANARY, self.valkey) if other.pk.hex in key]

    def test_redis_away_hinders_nothing(self):
        _conversation, reply = planted(system_prompt="", metadata={})
        self.valkey.kill()
        began = time.monotonic()
        with self.assertLogs("streaming_chat", "ERROR"):
            redact(reply.pk, make_staff("staff"))

        assert time.monotonic() - began < 10
        assert Message.objects.get(pk=reply.pk).text == REDACTED

    def test_a_journal_of_another_host_saves_nothing_of_it_later(self):
        """Its file is found when it is replayed: the reply is redacted, so there is nothing to keep for operators."""
        _conversation, reply = planted(system_prompt="", metadata={})
        redact(reply.pk, make_staff("staff"))
        leave_in_journal(reply)
        journal.replay()

        assert f"{reply.pk}.json" not in [name for name in places() if name.endswith((".json", ".fenced"))]
        assert Message.objects.get(pk=reply.pk).text == REDACTED


class BaseTailTests(TestCase):
    def test_a_tail_that_keeps_nothing_forgets_nothing(self):
        Notifier().forget([uuid.uuid4()])


class AdminTests(TestCase):
    permissions = ("view_conversation", "redact_transcript")

    def setUp(self):
        self.staff = make_staff("staff", *self.permissions)
        self.client.force_login(self.staff)
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation, "Secret")
        Feedback.objects.create(message=self.reply, value=-1, comment="Secret too", owner_key="u:1")
        self.url = reverse("admin:streaming_chat_conversation_redact", args=[self.conversation.pk, self.reply.pk])
        self.transcript = f"{LIST}{self.conversation.pk}/change/"

    def text(self):
        return Message.objects.get(pk=self.reply.pk).text

    def test_it_asks_first_and_says_what_goes_without_a_text(self):
        record("search", self.staff, terms="Secret")
        page = self.client.post(self.url).content.decode()

        assert "This permanently removes the text" in page
        assert "1 comment on it goes" in page
        assert "Also clear the terms of searches that occur in it" in page
        assert "Secret" not in page
        assert "Rain in Lisbon" not in page
        assert self.text() == "Secret"

    def test_how_many_searches_occur_in_it_is_for_who_may_read(self):
        record("search", self.staff, terms="Secret")
        self.client.force_login(make_staff("reader", *self.permissions, "view_transcript"))

        assert "Also clear the terms of 1 search" in self.client.post(self.url).content.decode()

    def test_then_it_redacts_and_returns_to_the_message(self):
        record("search", self.staff, terms="Secret")
        response = self.client.post(self.url, {"confirmed": "yes", "terms": "on"}, follow=True)
        page = response.content.decode()

        assert response.redirect_chain == [(f"{self.transcript}?message={self.reply.pk}#m-{self.reply.pk}", 302)]
        assert "The message is redacted." in page
        assert "Redacted by staff on" in page
        assert self.text() == REDACTED
        assert AccessRecord.objects.get(kind="search").terms == REDACTED
        assert AccessRecord.objects.get(kind="redact").by == self.staff

    def test_a_live_reply_is_to_be_stopped_first(self):
        live = make_live(make_conversation(), Event("text", "Secret"))
        url = reverse("admin:streaming_chat_conversation_redact", args=[live.conversation_id, live.pk])
        for fields in ({}, {"confirmed": "yes"}):
            page = self.client.post(url, fields, follow=True).content.decode()

            assert "Stop it before you redact it" in page
        assert LiveReply.objects.exists()

    def test_messages_of_other_conversations_are_not_found(self):
        other = make_reply(make_conversation())
        for conversation, message in ((self.conversation.pk, other.pk), (uuid.uuid4(), self.reply.pk)):
            url = reverse("admin:streaming_chat_conversation_redact", args=[conversation, message])

            assert self.client.post(url, {"confirmed": "yes"}).status_code == 404

    def test_the_transcript_has_a_button_for_it(self):
        assert f'action="{self.url}"' in self.client.get(self.transcript).content.decode()

        redact(self.reply.pk, self.staff)

        assert f'action="{self.url}"' not in self.client.get(self.transcript).content.decode()

    def test_sqlite_is_not_emptied_inside_a_transaction(self):
        """It would fail there; the tests themselves run in one."""
        copies.empty_log("default")

        assert connection.in_atomic_block
