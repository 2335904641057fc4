"""The search index is written with each text, and holds nothing of what was redacted or deleted."""

import uuid
from contextlib import contextmanager
from pathlib import Path

from django.db import connection, transaction
from django.test import TransactionTestCase

from streaming_chat.db.hooks import SavedText
from streaming_chat.models import Conversation, LiveReply, Message, SearchEntry
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from streaming_chat.search import entries
from streaming_chat.testing import Script
from tests.factories import end_live, make_conversation, make_live, make_message
from tests.native import ApiTestCase
from tests.search.factories import USING, added_by_rebuilding, found, said


class KeptUpTests(ApiTestCase):
    """What people send and providers write is found at once."""

    def test_a_message_and_its_reply_are_found(self):
        self.provider.script(Script(["It ", "rains ", "in Porto."]))
        reply = self.api.reply("What of Lisbon?")

        assert found("lisbon") == ["What of Lisbon?"]
        assert found('"rains in porto"') == ["It rains in Porto."]
        assert SearchEntry.objects.filter(conversation=reply.conversation_id).count() == 2

    def test_a_reply_written_again_is_found_too(self):
        reply = self.api.reply("Lisbon?")
        self.provider.script(Script(["Another one"]))
        self.api.post(f"api/messages/{reply.pk}/regenerate").getvalue()

        assert found("another") == ["Another one"]
        assert found("lisbon") == ["Lisbon?"]

    def test_what_its_owner_did_not_see_is_not_found(self):
        conversation = make_conversation()
        live = make_live(conversation)
        end_live(live, endings.stopped("user", 5), Event("text", "Seen unseen"), using=USING)

        assert found("seen") == ["Seen"]
        assert found("unseen") == []

    def test_a_title_is_found_once_somebody_gave_it(self):
        reply = self.api.reply("Will it rain?")
        conversation = reply.conversation

        assert len(found("rain")) == 1

        self.api.patch(f"api/conversations/{conversation.pk}", {"title": "Umbrellas"})

        assert found("umbrellas") == ["Umbrellas"]

        self.api.patch(f"api/conversations/{conversation.pk}", {"title": "Sunshades"})

        assert found("umbrellas") == []
        assert found("sunshades") == ["Sunshades"]

    def test_a_new_conversations_title_is_found(self):
        self.api.post("api/conversations", {"title": "Umbrellas"})
        self.api.post("api/conversations", {})

        assert found("umbrellas") == ["Umbrellas"]
        assert SearchEntry.objects.count() == 1

    def test_a_failing_index_loses_no_reply(self):
        with broken_index(), self.assertLogs("streaming_chat", "ERROR") as logged:
            reply = self.api.reply("Will it rain?")

        assert (reply.status, reply.text) == ("completed", "Hello, world")
        assert not LiveReply.objects.exists()
        assert len(logged.output) == 2
        assert all("rain" not in line.split("\n")[0] for line in logged.output)

        assert added_by_rebuilding() == 2
        assert found("rain") == ["Will it rain?"]

    def test_a_text_that_the_index_refuses_keeps_no_other_out(self):
        """Replies that end at once are added together."""
        conversation = make_conversation()
        refused, other = (make_message(conversation, text=text) for text in ("It rains", "It snows"))
        SearchEntry.objects.create(pk=1, conversation=conversation, message=refused, words=["another"])
        with self.assertLogs("streaming_chat", "ERROR") as logged:
            texts = [SavedText(conversation.pk, each.pk, is_reply=True, text=each.text) for each in (refused, other)]
            entries.add(texts, USING)

        assert len(logged.output) == 1
        assert found("snows") == ["It snows"]


@contextmanager
def broken_index():
    """Let every insertion into the index fail in the database."""
    table = SearchEntry._meta.db_table
    rename(table, "elsewhere")
    try:
        yield
    finally:
        rename("elsewhere", table)


def rename(table, name):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It refuses while checks of the transaction are outstanding.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class ForgottenTests(TransactionTestCase):
    """What is redacted, or deleted, is gone from the index, and on SQLite from the bytes of the file."""

    def setUp(self):
        # Another one each time: the file is the same for all tests.
        self.canary = f"zyxw{uuid.uuid4().hex}"
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                # As the example site sets it.
                cursor.execute("PRAGMA secure_delete = ON")
        conversation = make_conversation(title="")
        for n in range(50):
            said(f"other {self.canary[:4]}{n}", conversation)
        self.message = said(f"{self.canary}one 図書館 {self.canary}two", conversation)

    def assert_gone(self):
        assert found(f"{self.canary}*", everything=True) == []
        assert found("図書館") == []
        assert len(found("other", size=100)) == 50
        assert self.canary not in self.dump()

    def dump(self):
        """Return the bytes of the file, or what every table of PostgreSQL holds, as text."""
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                assert cursor.fetchall()[0][0] == 0
            return Path(connection.settings_dict["NAME"]).read_bytes().decode("latin-1")
        with connection.cursor() as cursor:
            rows = []
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  (a name that the database gave)
                rows += cursor.fetchall()
        return str(rows)

    def test_it_was_there(self):
        assert self.canary in self.dump()
        assert len(found(f"{self.canary}*")) == 1

    def test_a_redacted_message_is_forgotten(self):
        with transaction.atomic():
            entries.remove([self.message.pk], USING)
            Message.objects.filter(pk=self.message.pk).update(text="", parts=[])

        self.assert_gone()

    def test_a_title_is_forgotten(self):
        message = self.message
        Message.objects.filter(pk=message.pk).update(text="", parts=[])
        entries.replace_title(message.conversation_id, f"{self.canary} title", USING)
        entries.remove([message.pk], USING, titles_of=[message.conversation_id])

        self.assert_gone()

    def test_a_deleted_conversation_is_not_found_and_a_purge_takes_its_words(self):
        conversation = make_conversation(title="")
        said(f"{self.canary}three", conversation)
        Message.objects.filter(pk=self.message.pk).delete()
        Conversation.objects.filter(pk=conversation.pk).delete()

        assert found(f"{self.canary}*") == []

        entries.purge(USING)

        self.assert_gone()

    def test_rows_deleted_past_django_are_forgotten_too(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM streaming_chat_searchentry WHERE message_id = %s", [self.id_of(self.message)])
            cursor.execute("UPDATE streaming_chat_conversation SET head_id = NULL")
            cursor.execute("DELETE FROM streaming_chat_message WHERE id = %s", [self.id_of(self.message)])
        entries.purge(USING)

        self.assert_gone()

    def id_of(self, message):
        return message.pk.hex if connection.vendor == "sqlite" else message.pk

    def test_a_rebuild_does_not_bring_it_back(self):
        Message.objects.filter(pk=self.message.pk).update(text="", parts=[])
        entries.remove([self.message.pk], USING)

        assert added_by_rebuilding() == 0

        self.assert_gone()

    def test_an_undone_transaction_forgets_nothing(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            entries.remove([self.message.pk], USING)
            1 / 0  # noqa: B018  (any error)

        assert len(found(f"{self.canary}*")) == 1
