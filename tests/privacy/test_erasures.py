"""`manage.py eraseowner`: of an owner no text is left, and their numbers are nobody's."""

import tempfile
from decimal import Decimal
from io import StringIO
from unittest import skipIf

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext, override_settings

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.chats.sharing import share
from streaming_chat.management.arguments import find_owner
from streaming_chat.models import (
    AccessRecord,
    AccessToken,
    BlockedOwner,
    Conversation,
    DailyOwnerUsage,
    Feedback,
    LiveReply,
    Message,
    QuotaUse,
    ReplyEvent,
    ShareLink,
    ToolCall,
    ToolList,
)
from streaming_chat.notifiers import get_notifier
from streaming_chat.privacy import erasures
from streaming_chat.privacy.audit import account_name, record
from streaming_chat.privacy.blocking import block
from streaming_chat.protocol.events import Event
from streaming_chat.search import backends, query
from tests.copies import CANARY, keys, leave_what_is_deleted, places, planted
from tests.factories import (
    make_call,
    make_conversation,
    make_live,
    make_message,
    make_reply,
    make_staff,
    make_token,
    make_user,
    make_waiting,
)
from tests.management.test_clearconversations import age
from tests.management.test_clearconversations import run_command as clear
from tests.servers import wait_until
from tests.valkey import Valkey


def erase(*arguments):
    out = StringIO()
    call_command("eraseowner", *arguments, stdout=out)
    return out.getvalue().strip()


def make_link(owner):
    """Return a conversation with a link to it."""
    conversation = make_reply(make_conversation(owner)).conversation
    share(conversation)
    return conversation


class EraseTests(TestCase):
    def setUp(self):
        self.ana = make_user()
        self.key = f"u:{self.ana.pk}"

    def test_no_text_and_no_owner_are_left_and_the_numbers_are(self):
        conversation = make_conversation(
            system_prompt="Careful", metadata={"page": "/"}, input_tokens=312, cost=Decimal("0.5"), last_status="failed",
            needs_attention=True,
        )  # fmt: skip
        asked = make_message(conversation, send_key="k", body_digest="d")
        reply = make_reply(conversation, parent=asked, input_tokens=312, cost=Decimal("0.5"), first_event_ms=412)
        told = erase("ana")
        conversation.refresh_from_db()
        reply.refresh_from_db()
        asked.refresh_from_db()

        assert told == f"{self.key}: 1 conversations erased."
        assert (conversation.owner, conversation.owner_key, conversation.erased_at is not None) == (None, "", True)
        assert (conversation.title, conversation.system_prompt, conversation.metadata) == ("", "", {})
        assert not conversation.needs_attention
        assert (conversation.input_tokens, conversation.cost, conversation.message_count) == (312, Decimal("0.5"), 2)
        assert (reply.text, reply.parts, asked.text, asked.send_key, asked.body_digest) == ("", [], "", None, "")
        assert (reply.input_tokens, reply.cost, reply.first_event_ms) == (312, Decimal("0.5"), 412)
        assert (reply.parent, conversation.head) == (asked, reply)

    def test_deleted_ones_too_and_no_others(self):
        delete_for_owner(make_conversation(title="a").pk)
        others = make_conversation(make_user("bo"), title="b")
        visitors = Conversation.objects.create(owner_key="v:1", title="c")
        erase("ana")

        assert set(Conversation.objects.exclude(title="")) == {others, visitors}

    def test_ratings_keep_their_values_alone(self):
        conversation, others = make_conversation(), make_conversation(make_user("bo"))
        mine, of_staff = make_reply(conversation), make_reply(others)
        for message, key in ((mine, self.key), (mine, "v:9"), (of_staff, self.key), (of_staff, "u:0")):
            Feedback.objects.create(message=message, value=-1, comment="Secret", by=self.ana, owner_key=key)
        Feedback.objects.filter(owner_key="u:0").update(by=make_user("bo"))
        erase("ana")
        found = list(Feedback.objects.order_by("pk").values_list("value", "comment", "by__username"))

        assert found == [(-1, "", None), (-1, "", None), (-1, "", None), (-1, "Secret", "bo")]
        assert not Feedback.objects.filter(owner_key=self.key).exists()

    def test_what_their_quota_counts_goes(self):
        for key in (self.key, "u:0"):
            QuotaUse.objects.create(day="2026-11-28", key=f"owner {key}")
        erase("ana")

        assert QuotaUse.objects.get().key == "owner u:0"

    def test_what_they_used_day_by_day_goes(self):
        for key in (self.key, "u:0"):
            DailyOwnerUsage.objects.create(day="2026-11-28", owner_key=key, replies=1)
        erase("ana")

        assert DailyOwnerUsage.objects.get().owner_key == "u:0"

    def test_a_block_stays_without_its_reason(self):
        block(self.key, "Secret", self.ana)
        erase("ana")
        blocked = BlockedOwner.objects.get()

        assert (blocked.owner_key, blocked.reason) == (self.key, "")

    def test_their_access_tokens_go(self):
        make_token()
        others = make_token(make_user("bo"))
        erase("ana")

        assert [str(token) for token in AccessToken.objects.all()] == [others[:11]]

    def test_their_share_links_go(self):
        delete_for_owner(make_link(self.ana).pk)
        make_link(self.ana)
        others = make_link(make_user("bo"))
        erase("ana")

        assert ShareLink.objects.get().conversation == others

    def test_tool_calls_lose_their_texts_and_who_allowed_them_if_it_was_the_owner(self):
        reply = make_reply(make_conversation())
        staff = make_user("bo")
        for by in (make_user(), staff):
            make_call(reply, by=by, answered_at=reply.created_at, answer={"approved": True, "reason": "Secret"})
        erase("ana")
        calls = ToolCall.objects.order_by("pk")

        assert [(call.arguments, call.output, call.answer) for call in calls] == [("", "", None)] * 2
        assert [(call.name, call.by) for call in calls] == [("refund", None), ("refund", staff)]

    def test_what_servers_of_tools_offered_to_them_alone_goes(self):
        """A server may describe the data of a user."""
        mine, shared = (ToolList.objects.create(server=name, digest=name, definitions="[]") for name in ("a", "b"))
        conversation, others = make_conversation(), make_conversation(make_user("bo"))
        mine.conversations.add(conversation)
        shared.conversations.add(conversation, others)
        erase("ana")

        assert ToolList.objects.get() == shared
        assert shared.conversations.get() == others

    def test_terms_by_which_they_were_sought_go_and_who_read_what_stays(self):
        staff, conversation = make_staff("staff"), make_conversation()
        for terms in ("ana", "ANA@example.com", f"q={self.key}", '"ana" refund', "banana", "refund", "ana2", "ana.b"):
            record("search", staff, terms=terms)
        record("open", staff, conversation=conversation.pk)
        erase("ana")

        assert sorted(AccessRecord.objects.exclude(terms="").values_list("terms", flat=True)) == [
            "ana.b",
            "ana2",
            "banana",
            "refund",
        ]
        assert AccessRecord.objects.filter(by=staff).count() == 9

    def test_it_leaves_a_record_by_the_account(self):
        make_conversation()
        erase("ana")
        found = AccessRecord.objects.get()

        assert (found.kind, found.by_name, found.owner_key, found.count) == ("erase", account_name(), self.key, 1)

    def test_a_dry_run_changes_nothing(self):
        make_live(make_link(self.ana), Event("text", "Hel"))
        QuotaUse.objects.create(day="2026-11-28", key=f"owner {self.key}")
        DailyOwnerUsage.objects.create(day="2026-11-28", owner_key=self.key)
        record("search", "root", terms="ana")
        make_token()
        told = erase("ana", "--dry-run")

        assert told == (
            f"{self.key}: 1 conversations with 4 messages to erase, 1 of them being written; 0 ratings to make "
            "anonymous; 1 access tokens, 1 share links, 1 quota rows, 1 days of usage and 1 search terms to remove."
        )
        assert Conversation.objects.get().title == "Rain in Lisbon"
        assert AccessRecord.objects.get().terms == "ana"
        assert LiveReply.objects.get().stop is None

    def test_a_visitor_and_a_user_who_is_gone_by_their_keys(self):
        Conversation.objects.create(owner_key="v:1", title="a")

        assert erase("v:1") == "v:1: 1 conversations erased."
        assert Conversation.objects.get().title == ""

    def test_again(self):
        make_conversation()
        erase("ana")

        assert erase("ana") == f"{self.key}: 0 conversations erased."

    def test_nobody(self):
        """An empty key is that of everything erased before."""
        for name in ("nobody", "", "v:", "u:", "v:2"):
            with self.subTest(name), self.assertRaises(CommandError):
                erase(name)
        assert not AccessRecord.objects.exists()

    def test_more_than_one_transaction_takes(self):
        for _number in range(7):
            make_reply(make_conversation())
        self.addCleanup(setattr, erasures, "_PAGE_SIZE", erasures._PAGE_SIZE)
        erasures._PAGE_SIZE = 3

        assert list(erasures.erase(find_owner("ana"))) == [3, 3, 1]
        assert not Message.objects.exclude(text="").exists()

    def test_a_transcript_of_it_is_shown_without_text(self):
        conversation = make_conversation()
        make_reply(conversation, "Seen. Unseen.", status="stopped", end_reason="user", cut_position=6)
        erase("ana")
        self.client.force_login(make_staff("staff", "view_conversation", "view_transcript"))
        response = self.client.get(f"/admin/streaming_chat/conversation/{conversation.pk}/change/")

        assert b"Erased: " in response.content
        assert b'<h1 dir="auto">[erased]</h1>' in response.content
        assert response.content.count(b'<p class="transcript-text">[erased]</p>') == 2
        assert b"een." not in response.content

    def test_it_goes_by_age_in_the_end(self):
        age(make_conversation(), 400)
        erase("ana")
        Conversation.objects.update(last_activity=F("last_activity"))

        assert clear("--all", "--older-than", "300") == ["1 in total removed."]


@pytest.mark.slow
class LiveTests(TestCase):
    def setUp(self):
        settings = override_settings(STREAMING_CHAT_LEASE_SECONDS=0.3)
        settings.enable()
        self.addCleanup(settings.disable)

    def test_a_reply_whose_worker_lives_is_stopped_and_waited_for(self):
        """Here nobody writes it, but its claim holds: the command says so, and erases the others."""
        live = make_live(make_conversation(), Event("text", "Hel"), expires=60)
        other = make_conversation()
        with self.assertRaisesMessage(CommandError, "1 conversations have a live reply"):
            erase("ana")

        assert LiveReply.objects.get(pk=live.pk).stop == "staff"
        assert Conversation.objects.get(pk=live.conversation_id).title == "Rain in Lisbon"
        assert Conversation.objects.get(pk=other.pk).title == ""

    def test_a_reply_that_waits_for_an_answer_is_ended_at_once(self):
        (call,) = make_waiting(make_conversation())
        erase("ana")
        message = Message.objects.get(pk=call.message_id)

        assert (message.status, message.end_reason) == ("stopped", "staff")
        assert not LiveReply.objects.exists()

    def test_a_reply_whose_worker_died_is_recovered_first(self):
        live = make_live(make_conversation(), Event("text", "Hel"), expires=-1)
        with self.assertLogs("streaming_chat", "WARNING"):
            erase("ana")
        message = Message.objects.get(pk=live.pk)

        assert (message.status, message.end_reason, message.text) == ("stopped", "staff", "")
        assert not ReplyEvent.objects.exists()


class CanaryTests(TransactionTestCase):
    """Nothing of it is left: in no table, in no byte of SQLite's file, in no key of Redis, in no file of the journal."""

    def test_erasure(self):
        with Valkey() as valkey, tempfile.TemporaryDirectory() as folder:
            notifier = {"BACKEND": "streaming_chat.notifiers.redis.RedisNotifier", "OPTIONS": {"url": valkey.url}}
            with override_settings(STREAMING_CHAT_JOURNAL_DIR=folder, STREAMING_CHAT_NOTIFIER=notifier):
                _conversation, reply = planted()
                get_notifier().publish(reply.pk, [Event("start", {}), Event("text", CANARY)])
                wait_until(lambda: keys(CANARY, valkey))
                get_notifier().stop_publishing(reply.pk)
                before = places(valkey=valkey)
                erase("ana")

                assert len(before) >= 10
                assert places(valkey=valkey) == []
                assert not Conversation.objects.exclude(owner=None).exists()

    def test_erasure_where_sqlite_was_told_nothing(self):
        """It zeroes what it frees from then on, and the search index is purged at the end."""
        with tempfile.TemporaryDirectory() as folder, override_settings(STREAMING_CHAT_JOURNAL_DIR=folder):
            planted()
            others = make_reply(make_conversation(make_user("bo")), "Tulip")
            call_command("rebuildsearch", verbosity=0)
            leave_what_is_deleted()
            erase("ana")

            assert places() == []
            assert query.conversations("tulip")[0] == {others.conversation_id}

    @skipIf(
        connection.vendor != "sqlite" or backends._HAS_SECURE_DELETE,
        "a newer SQLite takes words out at once, and asks before each",
    )
    def test_the_index_is_merged_once(self):
        """It takes seconds where there is much."""
        for _number in range(7):
            make_reply(make_conversation())
        self.addCleanup(setattr, erasures, "_PAGE_SIZE", erasures._PAGE_SIZE)
        erasures._PAGE_SIZE = 3
        with CaptureQueriesContext(connection) as queries:
            erase("ana")
        merges = [query["sql"] for query in queries if "searchpurge" in query["sql"] and "SELECT" in query["sql"]]

        assert len(merges) == 1

    def test_terms_that_name_who_has_no_conversation(self):
        make_user("ana")
        for number in range(50):
            record("search", "root", terms=f"ana {CANARY} {number} {'x' * 400}")
        leave_what_is_deleted()
        erase("ana")

        assert places() == []
        assert AccessRecord.objects.filter(kind="search", terms="").count() == 50

    def test_retention(self):
        with tempfile.TemporaryDirectory() as folder, override_settings(STREAMING_CHAT_JOURNAL_DIR=folder):
            conversation, _reply = planted()
            age(conversation, 400)
            before = places()
            clear("--all", "--older-than", "300")

            assert len(before) > 8
            assert places() == []
            assert not Message.objects.exists()
