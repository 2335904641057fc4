"""Deleting through Django: while a reply is being written, and what is left of the texts."""

import tempfile
import threading
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext, override_settings

from streaming_chat.models import Alert, BlockedOwner, Conversation, DailyOwnerUsage, LiveReply, Message
from streaming_chat.notifiers import get_notifier
from streaming_chat.privacy import deletion
from streaming_chat.privacy.blocking import block
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.search import query
from tests.copies import CANARY, keys, leave_what_is_deleted, places, planted
from tests.factories import make_conversation, make_live, make_reply, make_user
from tests.management.test_clearconversations import run_command as clear
from tests.servers import wait_until
from tests.valkey import Valkey


class DeletionTests(TransactionTestCase):
    def test_an_owner_who_is_deleted_takes_everything_along(self):
        make_reply(make_conversation(make_user()), "Yes.")
        make_user().delete()

        assert (Conversation.objects.count(), Message.objects.count()) == (0, 0)

    def test_what_names_the_owner_by_the_key_alone_goes_too(self):
        ana, bo = make_user(), make_user("bo")
        for user in (ana, bo):
            block(f"u:{user.pk}", "Spam", bo)
            DailyOwnerUsage.objects.create(day="2026-11-28", owner_key=f"u:{user.pk}")
            Alert.objects.create(key=f"user_budget:{user.pk}", kind=Alert.Kind.USER_BUDGET, owner_key=f"u:{user.pk}")
        ana.delete()

        assert BlockedOwner.objects.get().owner_key == f"u:{bo.pk}"
        assert DailyOwnerUsage.objects.get().owner_key == f"u:{bo.pk}"
        assert Alert.objects.get().owner_key == f"u:{bo.pk}"

    def test_a_deletion_and_an_ending_wait_for_each_other_in_one_order(self):
        """As the writer ends a reply: the conversation first, then the claim. The other order was a deadlock."""
        live = make_live(make_conversation(make_user()), Event(TEXT, "Hello"))
        errors = []

        def delete():
            try:
                make_user().delete()
            except Exception as error:  # noqa: BLE001  (it is what the test is about)
                errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=delete)
        with transaction.atomic():
            Conversation.objects.filter(pk=live.conversation_id).update(last_activity=Now())
            thread.start()
            self.wait_until_it_waits()

            assert LiveReply.objects.filter(pk=live.pk).remove() == 1
        thread.join(30)

        assert errors == []
        assert get_user_model().objects.count() == Message.objects.count() == 0

    def wait_until_it_waits(self):
        """Only PostgreSQL says so; SQLite lets one transaction write at a time, whatever its order."""
        if connection.vendor == "postgresql":
            wait_until(self.waiting)

    def waiting(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return cursor.fetchone()[0]


class CanaryTests(TransactionTestCase):
    """Of what is deleted nothing is left: in no table, in no byte of SQLite's files, in no file of the journal.

    The index of the words is another table's on SQLite, in which they stay until somebody merges it.
    """

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(override_settings(STREAMING_CHAT_JOURNAL_DIR=folder))
        self.conversation, self.reply = planted()
        # Others' words are in the index as well, and stay.
        self.others = make_reply(make_conversation(make_user("bo")), "Tulip")
        call_command("rebuildsearch", verbosity=0)
        before = places()

        assert len(before) >= 8
        assert "streaming_chat_searchentry" in before
        leave_what_is_deleted()

    def assert_gone(self):
        assert places() == []
        assert Message.objects.filter(pk=self.others.pk).exists()

    def test_an_owner(self):
        make_user("ana").delete()

        self.assert_gone()

    def test_owners(self):
        get_user_model().objects.filter(username="ana").delete()

        self.assert_gone()

    def test_an_owner_in_the_admin(self):
        self.client.force_login(get_user_model().objects.create_superuser("root"))
        url = f"/admin/auth/user/{make_user('ana').pk}/delete/"
        asked = self.client.get(url)
        done = self.client.post(url, {"post": "yes"})

        assert CANARY not in asked.content.decode()
        assert done.status_code == 302
        assert not get_user_model().objects.filter(username="ana").exists()
        self.assert_gone()

    def test_owners_in_the_admin(self):
        self.client.force_login(get_user_model().objects.create_superuser("root"))
        chosen = [make_user("ana").pk, make_user("cy").pk]
        form = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
        self.client.post("/admin/auth/user/", form)

        assert sorted(get_user_model().objects.values_list("username", flat=True)) == ["bo", "root"]
        self.assert_gone()

    def test_a_conversation(self):
        self.conversation.delete()

        self.assert_gone()

    def test_conversations(self):
        Conversation.objects.filter(owner__username="ana").delete()

        self.assert_gone()

    def test_a_transaction_of_the_sites_own(self):
        with transaction.atomic():
            self.conversation.delete()
            make_user("ana").delete()

        self.assert_gone()

    def test_what_is_undone_is_still_found(self):
        with transaction.atomic():
            make_user("ana").delete()
            transaction.set_rollback(True)

        assert query.conversations(CANARY)[0] == {self.conversation.pk}
        assert "streaming_chat_message" in places()

        make_user("ana").delete()

        self.assert_gone()

    def test_others_are_still_found(self):
        make_user("ana").delete()

        assert query.conversations("tulip")[0] == {self.others.conversation_id}


class RedisTests(TransactionTestCase):
    def test_an_owners_keys_go(self):
        with Valkey() as valkey:
            notifier = {"BACKEND": "streaming_chat.notifiers.redis.RedisNotifier", "OPTIONS": {"url": valkey.url}}
            with override_settings(STREAMING_CHAT_NOTIFIER=notifier):
                reply = make_reply(make_conversation())
                get_notifier().publish(reply.pk, [Event("start", {}), Event("text", CANARY)])
                wait_until(lambda: keys(CANARY, valkey))
                get_notifier().stop_publishing(reply.pk)
                make_user("ana").delete()

                assert keys(CANARY, valkey) == []


class CostTests(TransactionTestCase):
    def test_the_index_is_merged_once_for_all_that_go(self):
        """A merge takes seconds where there is much."""
        for _number in range(7):
            make_reply(make_conversation())
        self.addCleanup(setattr, deletion, "_PAGE_SIZE", deletion._PAGE_SIZE)
        deletion._PAGE_SIZE = 3
        waiting = []
        with transaction.atomic():
            make_user("ana").delete()
            waiting = [each[1] for each in connection.run_on_commit]

        assert len([each for each in waiting if isinstance(each, deletion._Purge)]) == 1
        assert len(waiting) == 1 + 3

    def test_a_clearing_merges_it_at_its_end_only(self):
        for number in range(3):
            make_reply(make_conversation(make_user(f"user{number}")))
        Conversation.objects.update(last_activity=Now() - timedelta(days=2))
        with CaptureQueriesContext(connection) as queries:
            clear("--all", "--older-than", "1")
        merges = [query["sql"] for query in queries if "searchpurge" in query["sql"] and "SELECT" in query["sql"]]

        assert not Conversation.objects.exists()
        assert len(merges) == (1 if connection.vendor == "sqlite" else 0)
